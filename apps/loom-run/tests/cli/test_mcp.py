"""`loom-run mcp`: listing servers without starting them, checking them, trusting them."""

import json
import subprocess
import sys
import time
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
    tiny = {
        "command": sys.executable,
        "args": ["-S", "tiny.py"],
        "loom": {"replaces": ["search_docs"], "effect": "read"},
    }

    def write(**others: Any) -> None:
        (project / ".mcp.json").write_text(json.dumps({"mcpServers": {"tiny": tiny, **others}}))

    write()
    return write


def test_the_list_starts_nothing_needs_no_trust_and_shows_no_secret(
    servers: Any, loom_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    servers(web={"url": "http://h?k=${SECRET}"}, bad={"command": "${NOPE}"}, odd={"command": "x", "comand": 1})
    listed = loom_run("mcp", "list", "--output", "text")
    assert listed.code == 0
    rows = [line.split() for line in listed.out.splitlines()]
    assert rows[0] == ["server", "transport", "calls", "replaces", "where"]
    assert rows[1][:4] == ["tiny", "stdio", "read", "search_docs"]
    assert rows[2] == ["web", "http", "write", "-", "http://h?k=${SECRET}"]
    assert "hunter2" not in listed.out
    assert "needs the variable NOPE" in listed.err
    assert "odd: unknown member 'comand' was ignored" in listed.err
    assert [row["server"] for row in loom_run("mcp", "list").json] == ["tiny", "web", "odd", "bad"]


def test_a_file_is_checked_after_it_is_trusted(servers: Any, loom_run: Run, project: Path) -> None:
    refused = loom_run("mcp", "check")
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert "you have not trusted it" in refused.err
    checked = loom_run("mcp", "check", "--trust", "--tools", "--output", "text")
    assert checked.code == 0
    assert checked.out.splitlines()[1].split()[:3] == ["tiny", "ready", "1"]
    assert "  tiny__look  [reads]  Look\\x1b[31m at it." in checked.err
    assert loom_run("mcp", "check").json[0]["stderr"] == "started"
    servers(none={"command": "no-such-program"})
    assert loom_run("mcp", "check").code == 2
    failed = loom_run("mcp", "check", "--trust", "--output", "text")
    assert failed.code == 1
    assert "cannot use MCP server 'none': the program 'no-such-program' was not found" in failed.err


def test_a_file_named_by_the_user_is_trusted(servers: Any, loom_run: Run) -> None:
    assert loom_run("mcp", "check", "--mcp-config", ".mcp.json").code == 0
    assert loom_run("mcp", "check").code == 0


def test_a_broken_or_missing_file_is_reported_in_one_line(project: Path, loom_run: Run) -> None:
    (project / ".mcp.json").write_text('{"mcpServers": {')
    for command in (("mcp", "list"), ("mcp", "check", "--trust"), ("mcp", "list", "--mcp-config", "none.json")):
        ended = loom_run(*command)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), command


def test_a_chat_uses_the_servers_of_a_trusted_file(servers: Any, loom_run: Run, script: Run) -> None:
    call = {"tool_calls": [{"id": "1", "name": "tiny__look", "arguments": {}}]}
    untrusted = loom_run("chat", "hi", "-r", "no", script(call, "done"))
    assert untrusted.code == 0
    assert "you have not trusted it" in untrusted.err.splitlines()[0]
    assert "there is no such tool" in loom_run("show", "no", "--output", "text").out
    ended = loom_run("chat", "hi", "-r", "yes", "--trust", script(call, "done"))
    assert (ended.code, ended.out) == (0, "done\n")
    assert "  tiny__look " in ended.err
    assert "tiny__look    6 B" in loom_run("show", "yes", "--output", "text").out
    assert (
        loom_run("chat", "hi", "-r", "none", "--mcp-config", "none", script(call, "done")).err.count("tiny__look") == 0
    )


def test_a_run_keeps_its_servers_and_asks_again_when_their_file_has_changed(
    servers: Any, loom_run: Run, script: Run
) -> None:
    call = {"tool_calls": [{"id": "1", "name": "tiny__look", "arguments": {}}]}
    option = script(call, "one", {"tool_calls": [{**call["tool_calls"][0], "id": "2"}]}, "two", "three")
    assert loom_run("chat", "a", "-r", "r", "--mcp-config", ".mcp.json", option).code == 0
    assert loom_run("chat", "b", "-r", "r").out == "two\n"
    servers(none={"command": "no-such-program"})
    refused = loom_run("chat", "c", "-r", "r")
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert "cannot continue without MCP servers" in refused.err
    again = loom_run("chat", "c", "-r", "r", "--trust")
    assert (again.code, again.out) == (0, "three\n")
    assert "cannot use MCP server 'none'" in again.err
    assert loom_run("chat", "d", "-r", "r", "--mcp-config", "none", "--mock-llm").code == 0


def test_changed_tools_are_reported(servers: Any, loom_run: Run, script: Run, project: Path) -> None:
    option = script("one", "two")
    assert loom_run("chat", "a", "-r", "r", "--trust", option).code == 0
    (project / "tiny.py").write_text(SERVER.replace('"look"', '"glance"'))
    refused = loom_run("chat", "b", "-r", "r")
    assert refused.code == 2 and "that it starts, was changed" in refused.err
    err = loom_run("chat", "b", "-r", "r", "--trust").err
    assert "since the last step: added: tiny__glance; removed: tiny__look" in err


def test_a_server_replaces_a_local_tool(servers: Any, loom_run: Run, project: Path) -> None:
    (project / "tiny.py").write_text(SERVER.replace('"look"', '"search_docs"'))
    answered = loom_run("chat", "whales", "-r", "r", "--trust", "--mock-llm")
    assert (answered.code, answered.out) == (0, "search_docs answers: seen\n")


def test_settings_apply_to_new_runs_and_an_option_overrides_them(loom_run: Run, project: Path, script: Run) -> None:
    (project / "loom.toml").write_text('max_requests = 1\ndb = "mine.sqlite"\n')
    call = {"tool_calls": [{"id": "1", "name": "list_files", "arguments": {}}]}
    option = script(call, "done")
    stopped = loom_run("chat", "hi", "-r", "r", option)
    assert stopped.code == 4
    assert (project / "mine.sqlite").exists()
    assert loom_run("chat", "hi", "-r", "s", "--max-requests", "5", option).code == 0
    assert [row["run_id"] for row in loom_run("runs", "--output", "json").json] == ["s", "r"]
    (project / "loom.toml").write_text('mode = "auto"\n')
    refused = loom_run("chat", "hi", "-r", "t", option)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "it sets mode, and you have not trusted it" in refused.err
    assert loom_run("chat", "hi", "-r", "t", "--trust", option).code == 0


@pytest.mark.parametrize(("tool", "code", "calls"), [("hang", 3, 1), ("hang_reading", 0, 2)])
def test_a_call_during_which_the_agent_was_killed_is_in_doubt_unless_it_only_reads(
    project: Path, loom_run: Run, script: Run, tool: str, code: int, calls: int
) -> None:
    bare = Path(__file__).parents[4] / "packages" / "loom-agents" / "tests" / "mcp" / "servers" / "bare.py"
    effects = project / "effects"

    def servers(*flags: str, **more: Any) -> None:
        server = {"command": sys.executable, "args": ["-S", str(bare), f"effects={effects}", *flags], **more}
        server |= {"loom": {"effect": "read"}} if tool == "hang_reading" else {}
        (project / ".mcp.json").write_text(json.dumps({"mcpServers": {"bare": server}}))

    servers()
    call = {"tool_calls": [{"id": "1", "name": f"bare__{tool}", "arguments": {}}]}
    command = [
        sys.executable,
        "-m",
        "loom_run",
        "chat",
        "hi",
        "-r",
        "k",
        "--mode",
        "auto",
        "--trust",
        script(call, "done"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 30
    while not effects.exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    process.kill()
    process.wait()
    servers(timeout=0.3)  # the restarted server does not answer in time either
    resumed = loom_run("resume", "k", "--trust")
    assert resumed.code == code
    assert effects.read_text().split().count("hang") == calls
