"""Documents and memories over the Model Context Protocol.

    from docs_memory_mcp import build_server, load_settings
    from mcp.client import Client

    async with Client(build_server(load_settings(root="docs"))) as client:
        await client.call_tool("docs_search", {"query": "resume a run"})

The documents are searched by `loom_agents.search`, the memory is `loom_agents.memory`. `library`
and `memories` are the functions behind the tools, `server` makes tools of them, and `cli` is the
command.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docs_memory_mcp._errors import CallError, SettingsError
    from docs_memory_mcp.library import Library
    from docs_memory_mcp.memories import Memories
    from docs_memory_mcp.server import build_server
    from docs_memory_mcp.settings import Settings, load_settings

__all__ = ["CallError", "Library", "Memories", "Settings", "SettingsError", "build_server", "load_settings"]

_HOME = {
    "CallError": "_errors",
    "Library": "library",
    "Memories": "memories",
    "Settings": "settings",
    "SettingsError": "_errors",
    "build_server": "server",
    "load_settings": "settings",
}
"""The module that defines each public name; imported at the first access, so that `--help` loads
none of them."""


def __getattr__(name: str) -> Any:
    from importlib import import_module

    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
