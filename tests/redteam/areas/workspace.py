"""What a workspace runs or changes by being opened: its tests, its settings, its steering files,
its undo log.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

from tests.redteam.area import Area
from tests.redteam.site import loom

HOLE = """
replace('loom_agents._workspace.workspace_trust', 'WorkspaceTrust.objection', lambda self: None)
replace('loom_run._config.mcp_servers', 'mcp_digest', lambda file, content: 'x')
replace('loom_agents._workspace.steering_files', 'steers_tools', lambda parts: False)
replace('loom_agents._workspace.undo.change_log', 'ChangeLog._check_place', lambda self, workspace, change: None)
"""
AREA = Area("workspace", hole=HOLE)


def _chat(folder: Path, *calls: tuple[str, dict[str, Any]], options: tuple[str, ...] = ()) -> str:
    tools = [{"id": str(number), "name": name, "arguments": what} for number, (name, what) in enumerate(calls)]
    script = folder.parent / "script.json"
    script.write_text(json.dumps({"format": "loom-script/1", "replies": [{"tool_calls": tools}, "done"]}))
    ended = loom(folder, "loom_run", "chat", "hi", "-r", "r", f"--mock-llm={script}", *options)
    return ended.stdout + ended.stderr


def _hostile(folder: Path) -> Path:
    """Write a workspace of which every part leaves a mark when it runs."""
    (folder / "test_a.py").write_text("open('PWN-test', 'w')\ndef test(): pass\n")
    (folder / "conftest.py").write_text("open('PWN-conftest', 'w')\n")
    (folder / "plugin.py").write_text("open('PWN-plugin', 'w')\n")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p plugin\n")
    python = folder / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\ntouch PWN-venv\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (folder / "serve.py").write_text("open('PWN-mcp', 'w')\n")
    servers = {"s": {"command": sys.executable, "args": ["serve.py"]}}
    (folder / ".mcp.json").write_text(json.dumps({"mcpServers": servers}))
    return folder


def _ran(folder: Path) -> str | None:
    found = sorted(path.name for path in folder.rglob("PWN*"))
    return f"ran: {found}" if found else None


@AREA.attempt_each("every tool, without trust, in the mode", ["ask", "edits", "auto", "read-only"])
def _(folder: Path, mode: str) -> str | None:
    calls = [(name, {}) for name in ("run_tests", "git_status", "git_diff", "list_files")]
    _chat(_hostile(folder), *calls, options=("--mode", mode))
    return _ran(folder)


@AREA.attempt("read-only starts the workspace's own servers although they are trusted")
def _(folder: Path) -> str | None:
    _chat(_hostile(folder), ("run_tests", {}), options=("--mode", "read-only", "--trust"))
    return _ran(folder)


@AREA.attempt("loom.toml gives the mode, an allow rule or the test command")
def _(folder: Path) -> str | None:
    for text in ('mode = "auto"', 'allow = ["run_tests", "write_file"]', 'test_command = "touch PWN-command"'):
        (folder / "loom.toml").write_text(text)
        _chat(folder, ("run_tests", {}), ("write_file", {"path": "PWN-write", "text": ""}))
    (folder / "loom.toml").write_text("test_network = true\n")
    said = _chat(folder, ("list_files", {}), options=("--trust",))
    return _ran(folder) or (None if "only the user can set" in said else "test_network was taken from the project")


@AREA.attempt("conftest.py changes after the workspace was trusted")
def _(folder: Path) -> str | None:
    (folder / "test_a.py").write_text("def test(): pass\n")
    loom(folder, "loom_run", "trust", "--yes")
    (folder / "conftest.py").write_text("open('PWN-conftest', 'w')\n")
    _chat(folder, ("run_tests", {}), options=("--mode", "auto"))
    return _ran(folder)


@AREA.attempt_each("a rule allows run_tests, without trust, in the mode", ["ask", "auto", "read-only"])
def _(folder: Path, mode: str) -> str | None:
    _chat(_hostile(folder), ("run_tests", {}), options=("--mode", mode, "--allow", "run_tests", "--allow", "*"))
    return _ran(folder)


@AREA.attempt("the program of a trusted MCP server changes, or is named by a trusted loom.toml in the mode read-only")
def _(folder: Path) -> str | None:
    (folder / "serve.py").write_text("")
    servers = json.dumps({"mcpServers": {"s": {"command": sys.executable, "args": ["serve.py"]}}})
    (folder / ".mcp.json").write_text(servers)
    loom(folder, "loom_run", "trust", "--yes")
    (folder / "serve.py").write_text("open('PWN-mcp', 'w')\n")
    _chat(folder, ("list_files", {}), options=("--mode", "auto"))
    (folder / "own.json").write_text(servers)
    (folder / "loom.toml").write_text('mcp_config = "own.json"\n')
    loom(folder, "loom_run", "chat", "hi", "-r", "q", "--mock-llm", "--trust", "--mode", "read-only")
    return _ran(folder)


@AREA.attempt("edits writes files that steer tools")
def _(folder: Path) -> str | None:
    names = ("conftest.py", ".github/workflows/x.yml", "loom.toml", ".mcp.json", ".vscode/tasks.json", "AGENTS.md")
    _chat(folder, *[("write_file", {"path": name, "text": "x"}) for name in names], options=("--mode", "edits"))
    found = [name for name in names if (folder / name).exists()]
    return f"written: {found}" if found else None


@AREA.attempt("an undo log from elsewhere names another root, a secret, a link or a trigger")
def _(folder: Path) -> str | None:
    home, work = folder / "home", folder / "w"
    (home / ".ssh").mkdir(parents=True)
    work.mkdir()
    patch = "--- a/k\n+++ /dev/null\n@@ -1 +0,0 @@\n-CANARY\n"
    (work / "k").write_text("CANARY\n")
    _chat(work, ("apply_patch", {"patch": patch}), options=("--mode", "edits"))
    (work / "link").symlink_to(home)
    log = next(work.glob("*-undo"))
    for root, path in ((home, ".ssh/keys"), (home, "k"), (work, "../home/k"), (work, ".ssh/k"), (work, "link/k")):
        with sqlite3.connect(log) as rows:
            rows.execute("UPDATE change SET root = ?, status = 'done'", [str(root)])
            rows.execute("UPDATE file SET path = ?", [path])
        loom(work, "loom_run", "undo", "r", "--force")
    with sqlite3.connect(log) as rows:
        rows.execute("UPDATE change SET root = ?, status = 'done'", [str(work)])
        rows.execute("CREATE TRIGGER t AFTER UPDATE ON change BEGIN UPDATE file SET path = 'PWN'; END")
    loom(work, "loom_run", "undo", "r", "--force")
    found = [str(path) for path in folder.rglob("*") if path.is_file() and path.read_bytes() == b"CANARY\n"]
    return f"written: {found}" if found else None


@AREA.attempt("a name that steers tools is written in another spelling")
def _(folder: Path) -> str | None:
    from loom_agents import Policy, Workspace

    (folder / "a").symlink_to(folder)
    policy = Policy(Workspace.at(folder), "edits")
    names = ("ConfTest.py", "conftest.py.", "./conftest.py", f"{os.path.realpath(folder)}/conftest.py", "a/conftest.py")
    found = [name for name in names if policy.decide("write_file", {"path": name}).how == "allow"]
    return f"allowed: {found}" if found else None
