"""Runbook steps, health checks and reports of loom-ops over the Model Context Protocol.

    from mcp import Client
    from ops_runtime_mcp import Settings, build_server

    async with Client(build_server(Settings(db="ops.sqlite"))) as client:
        await client.call_tool("list_runbooks", {})

The functions behind the tools are those of `loom_ops.api`. `server` makes tools of them, `asking`
asks the client's user, `texts` writes what people read, and `cli` is the command.
"""

from ops_runtime_mcp.server import build_server
from ops_runtime_mcp.settings import Settings

__all__ = ["Settings", "build_server"]
