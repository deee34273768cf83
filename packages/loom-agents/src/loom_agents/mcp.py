"""MCP servers as tools of an agent: read their configuration, start them, add their tools.

    async with McpServers(read_mcp_config(Path(".mcp.json")), blobs=BlobFolder(folder)) as servers:
        tools = servers.registry(workspace_tools(workspace))

The library `mcp` (extra `loom-agents[mcp]`) is imported when the first server starts, not before.
"""

from loom_agents._errors import McpConfigError
from loom_agents._mcp.blobs import BlobFolder
from loom_agents._mcp.config import McpConfig, McpServerConfig, read_mcp_config
from loom_agents._mcp.one_call import call_mcp_tool
from loom_agents._mcp.server import McpServer
from loom_agents._mcp.toolset import McpServers, pinned_tools
from loom_agents._workspace.trusted_files import TrustedFiles

__all__ = [
    "BlobFolder",
    "McpConfig",
    "McpConfigError",
    "McpServer",
    "McpServerConfig",
    "McpServers",
    "TrustedFiles",
    "call_mcp_tool",
    "pinned_tools",
    "read_mcp_config",
]
