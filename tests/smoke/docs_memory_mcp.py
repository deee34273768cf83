"""Search, read and compare a document, and keep a fact, over stdio, as a client of MCP does."""

import asyncio
import sys
from pathlib import Path

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters

COMMAND = str(Path(sys.executable).parent / "docs-memory-mcp")


async def main() -> None:
    root = Path("root")
    root.mkdir()
    (root / "guide.md").write_text("# Guide\n\n## Deploy\n\nWe deploy on Tuesday.\n")
    state = {"XDG_STATE_HOME": str(Path("state").resolve())}
    server = StdioServerParameters(command=COMMAND, args=["--root", str(root)], env=state)
    async with Client(server) as client:
        found = await client.call_tool("docs_search", {"query": "when do we deploy?"})
        (match,) = found.structured_content["matches"]
        assert (match["path"], match["heading"]) == ("guide.md", "Guide > Deploy"), found
        (root / "guide.md").write_text("# Guide\n\n## Deploy\n\nWe deploy on Friday.\n")
        await client.call_tool("docs_reindex", {})
        changed = await client.call_tool("docs_diff", {"path": "guide.md"})
        assert "+We deploy on Friday." in changed.structured_content["diff"], changed
        await client.call_tool("memory_upsert", {"text": "Deploys need two people.", "key": "deploy"})
    async with Client(server) as client:
        known = await client.call_tool("memory_search", {"query": "deploys"})
        assert known.structured_content["facts"][0]["text"] == "Deploys need two people.", known


asyncio.run(main())
