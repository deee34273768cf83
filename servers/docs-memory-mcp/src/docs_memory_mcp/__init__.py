"""Documents and memories over the Model Context Protocol.

    from docs_memory_mcp import build_server, load_settings
    from mcp.client import Client

    async with Client(build_server(load_settings(root="docs"))) as client:
        await client.call_tool("docs_search", {"query": "resume a run"})

The documents are searched by `loom_agents.search`, the memory is `loom_agents.memory`. `library`
and `memories` are the functions behind the tools, `server` makes tools of them, and `cli` is the
command.
"""

from docs_memory_mcp.library import Library
from docs_memory_mcp.memories import Memories
from docs_memory_mcp.server import build_server
from docs_memory_mcp.settings import Settings, load_settings

__all__ = ["Library", "Memories", "Settings", "build_server", "load_settings"]
