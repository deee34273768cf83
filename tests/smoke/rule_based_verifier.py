"""Trust a folder, then check, search and trace it over stdio, as a client of MCP does."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters

COMMAND = str(Path(sys.executable).parent / "rule-based-verifier")
TESTS = 'import app\n\napp.double(3)\nprint("Tests: 1 passed, 1 total")\n'


async def main() -> None:
    root = Path("root")
    root.mkdir()
    (root / "app.py").write_text("def double(n):\n    return 2 * n\n")
    (root / "check.py").write_text(TESTS)
    config = {"XDG_CONFIG_HOME": str(Path("config").resolve())}
    words = ["--root", str(root), "--test-cmd", f"{sys.executable} check.py"]
    server = StdioServerParameters(command=COMMAND, args=words, env=config)
    async with Client(server) as client:
        before = await client.call_tool("run_tests", {})
        assert before.structured_content["verdict"] == "cannot_tell", before
        subprocess.run(
            [COMMAND, *words, "--trust"], env={**os.environ, **config}, check=True, stdout=subprocess.DEVNULL
        )
        result = await client.call_tool("run_tests", {})
        assert result.structured_content["verdict"] == "pass", result
        found = await client.call_tool("search_codebase", {"pattern": "def double"})
        assert found.structured_content["total"] == 1, found
        traced = await client.call_tool("semantic_trace", {"target": "app:double", "arguments": [4]})
        assert traced.structured_content["value"] == 8, traced


asyncio.run(main())
