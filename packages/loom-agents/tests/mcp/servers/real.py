"""An MCP server made with the official library: `real.py stdio`, or `real.py http PORT`."""

import sys
from pathlib import Path
from typing import Annotated

from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve
from mcp.server.request_state import RequestStateSecurity
from mcp_types import ToolAnnotations
from pydantic import BaseModel

server = MCPServer("real", request_state_security=RequestStateSecurity(keys=["k" * 32]))


class Confirmation(BaseModel):
    sure: bool


class Sum(BaseModel):
    total: int


async def ask(path: str, ctx: Context) -> Elicit[Confirmation]:
    return Elicit(f"Delete {path}?", Confirmation)


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> Sum:
    """Add two numbers."""
    return Sum(total=a + b)


@server.tool(annotations=ToolAnnotations(idempotent_hint=True))
def delete(path: str, answer: Annotated[Confirmation, Resolve(ask)], effects: str) -> str:
    """Delete a file after a person confirms it."""
    if not answer.sure:
        return "kept"
    with Path(effects).open("a") as out:
        out.write(f"deleted {path}\n")
    return f"deleted {path}"


@server.tool()
def search_docs(query: str) -> str:
    """Search better."""
    return f"found {query}"


if sys.argv[1] == "http":
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[2]))
else:
    server.run("stdio")
