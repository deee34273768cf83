"""`loom-run mcp`: servers are listed without starting anything, checked as real processes, and trusted once."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

SERVER = r"""
import json, sys
sys.stderr.write("started\n")
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    answer = {"jsonrpc": "2.0", "id": message["id"]}
    if message["method"] == "initialize":
        answer["result"] = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "tiny", "version": "1"}}
    elif message["method"] == "tools/list":
        tool = {"name": "look", "description": "Look\u001b[31m at\n it.", "inputSchema": {"type": "object", "properties": {}}}
        answer["result"] = {"tools": [{**tool, "annotations": {"readOnlyHint": True}}]}
    elif message["method"] == "tools/call":
        answer["result"] = {"content": [{"type": "text", "text": "seen"}]}
    else:
        answer["error"] = {"code": -32601, "message": "no"}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def servers(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Write the project's .mcp.json; `tiny` in it is a server that works."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
    (project / "tiny.py").write_text(SERVER)
    tiny = {"command": sys.executable, "args": ["-S", "tiny.py"], "loom": {"replaces": ["search_docs"]}}

    def write(**others: Any) -> None:
        (project / ".mcp.json").write_text(json.dumps({"mcpServers": {"tiny": tiny, **others}}))

    write()
    return write


def test_the_list_starts_nothing_and_needs_no_trust(servers: Any, loom_run: Run) -> None:
    servers(web={"url": "http://h"}, bad={"command": "${NOPE}"}, odd={"command": "x", "comand": 1})
    listed = loom_run("mcp", "list", "--output", "text")
    assert listed.code == 0
    rows = [line.split() for line in listed.out.splitlines()]
    assert rows[0] == ["server", "kind", "calls", "replaces", "where"]
    assert rows[1][:4] == ["tiny", "stdio", "by", "hints"]
    assert rows[2] == ["web", "http", "by", "hints", "-", "http://h"]
    assert "needs the variable NOPE" in listed.err
    assert "odd: 'comand' is not known" in listed.err
    assert [row["server"] for row in loom_run("mcp", "list").json] == ["tiny", "web", "odd", "bad"]


def test_a_file_is_checked_after_it_is_trusted(servers: Any, loom_run: Run, project: Path) -> None:
    refused = loom_run("mcp", "check")
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert "nobody has trusted it" in refused.err
    checked = loom_run("mcp", "check", "--trust", "--tools", "--output", "text")
    assert checked.code == 0
    assert checked.out.splitlines()[1].split()[:3] == ["tiny", "ready", "1"]
    assert "  tiny__look  [reads]  Look\\x1b[31m at it." in checked.err
    assert loom_run("mcp", "check").json[0]["stderr"] == "started"
    servers(none={"command": "no-such-program"})
    assert loom_run("mcp", "check").code == 2
    failed = loom_run("mcp", "check", "--trust", "--output", "text")
    assert failed.code == 1
    assert "cannot use MCP server 'none': because there is no program 'no-such-program'" in failed.err


def test_a_file_that_is_named_is_the_users_own_word(servers: Any, loom_run: Run) -> None:
    assert loom_run("mcp", "check", "--mcp-config", ".mcp.json").code == 0
    assert loom_run("mcp", "check").code == 0


def test_a_broken_or_missing_file_is_one_line(project: Path, loom_run: Run) -> None:
    (project / ".mcp.json").write_text('{"mcpServers": {')
    for command in (("mcp", "list"), ("mcp", "check", "--trust"), ("mcp", "list", "--mcp-config", "none.json")):
        ended = loom_run(*command)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), command
