"""A folder of documents, and the server on it in this process."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from docs_memory_mcp import Settings, build_server, load_settings
from mcp import Client
from mcp.types import CallToolResult, TextContent

SECRET = "ghp_" + "a1B2" * 9
FILES = {
    "guide.md": "# Guide\n\n## Resume a run\n\nAfter a crash, `resume_run` goes on where it was.\n\n"
    "## Wörter\n\nÄpfel und Birnen.\n",
    "notes.txt": "The deploy window is Tuesday.\n",
    "app/run.py": "def resume_run(name):\n    return name\n",
    "page.html": "<html><head><title>Page</title></head><body><h1>Retention</h1><p>Kept ninety days.</p></body></html>",
    "keys.md": f"# Keys\n\nThe token is {SECRET} today.\n",
    ".env": "PASSWORD=hunter2 zebra\n",
}


class Docs:
    """The documents, and a client of their server."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.root = folder / "root"
        self.settings: Settings = load_settings(
            root=self.root, **{"db": folder / "state" / "index.sqlite", **settings}, environment={}
        )
        self.server = build_server(self.settings)

    def call(self, tool: str, arguments: dict[str, Any] | None = None, **more: Any) -> CallToolResult:
        """Call a tool in a client of its own."""

        async def work(client: Client) -> CallToolResult:
            return await client.call_tool(tool, arguments or {}, **more)

        return self.talk(work)

    def talk(self, work: Callable[[Client], Awaitable[Any]]) -> Any:
        async def session() -> Any:
            async with Client(self.server) as client:
                return await work(client)

        return asyncio.run(session())

    def get(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool that must succeed; return its structured result."""
        result = self.call(tool, arguments)
        assert not result.is_error, text_of(result)
        assert result.structured_content is not None
        return result.structured_content

    def text(self, tool: str, **arguments: Any) -> str:
        """Call a tool that must succeed; return its text."""
        result = self.call(tool, arguments)
        assert not result.is_error, text_of(result)
        return text_of(result)

    def error(self, tool: str, **arguments: Any) -> str:
        """Call a tool that must fail; return what it says."""
        result = self.call(tool, arguments)
        assert result.is_error, text_of(result)
        return text_of(result)

    def found(self, query: str, **more: Any) -> list[str]:
        """The paths that a search returns."""
        return [each["path"] for each in self.get("docs_search", query=query, **more)["matches"]]


def text_of(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


@pytest.fixture
def docs(tmp_path: Path) -> Docs:
    write(tmp_path / "root", FILES)
    return Docs(tmp_path)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Docs]:
    """Make another server on the same files."""
    write(tmp_path / "root", FILES)
    return lambda **settings: Docs(tmp_path, **settings)


@pytest.fixture
def secret() -> str:
    return SECRET
