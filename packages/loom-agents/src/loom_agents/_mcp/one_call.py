"""One call of a tool of an MCP server: start the server, call the tool, stop the server.

For callers that are no agent: they know the tool and want its result, as a check of a runbook does.
"""

from collections.abc import Mapping
from typing import Any

from loom_runner import ToolFailed, ToolRegistry

from loom_agents._mcp.config import McpConfig, McpServerConfig
from loom_agents._mcp.toolset import McpServers
from loom_agents._tools.input_requests import asks_for_input, input_question

__all__ = ["call_mcp_tool"]


class _NoBlobs:
    """Describe what is too large for a result, and store nothing."""

    def keep(self, data: bytes, mime_type: str) -> dict[str, Any]:
        return {"mime_type": mime_type, "bytes": len(data)}


async def call_mcp_tool(server: McpServerConfig, tool: str, arguments: Mapping[str, Any]) -> Any:
    """Start a server, call one of its tools, stop the server, and return the result.

    Args:
        server: How to connect to it, and which of its tools may be used.
        tool: The server's name of the tool.
        arguments: The arguments, which are validated against the tool's schema.

    Returns:
        The structured content, or the text when there is none. A result of more than 60,000
        characters is an object with the beginning of its text (`text`, `truncated`).

    Raises:
        ToolFailed: The server did not start, has no such tool, refused the call, or asks a person
            something.
        OutcomeUnknown: The call was interrupted, and the file does not declare it repeatable.
        ImportError: The library `mcp` is not installed.
    """
    async with McpServers(McpConfig((server,)), blobs=_NoBlobs()) as servers:
        offered = servers.names(ToolRegistry())
        name = offered.get((server.name, tool))
        if name is None:
            known = ", ".join(sorted(each for _, each in offered))
            missing = f"MCP server {server.name!r} offers no tool {tool!r}; it offers: {known or 'none'}."
            raise ToolFailed(servers.problems[0] if servers.problems else missing, error_category="unavailable")
        result = await servers.registry(ToolRegistry()).get(name).function(**arguments)
    if asks_for_input(result):
        raise ToolFailed(f"{tool} asks a person: {input_question(result)}", error_category="refused")
    return result
