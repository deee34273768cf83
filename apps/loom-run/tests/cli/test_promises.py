"""Errors of the published alphas, one regression test each.

Other files test the rest: the OpenAI path (`test_providers`), edited and expired requests
(`test_approvals`), children that were killed (`test_delegation` and `test_kill_sweep` of
loom-agents), MCP and HTTP (`test_mcp*`, `test_serve*`).
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
EDIT = {"name": "edit_file", "arguments": {"path": "README.md", "old": "about whales", "new": "about seals"}}
TESTS = {"name": "run_tests", "arguments": {"path": "."}}


def calling(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"tool_calls": list(calls)}


@pytest.fixture
def team(project: Path) -> str:
    """Write the script of a team whose coder wants to edit."""
    delegate = {"name": "delegate", "arguments": {"agent": "coder", "task": "edit"}}
    script = {
        "format": "loom-script/1",
        "replies": [calling(delegate), "merged"],
        "agents": {"coder": [calling(EDIT), "edited"]},
    }
    (project / "team.json").write_text(json.dumps(script))
    return f"--mock-llm={project / 'team.json'}"


def test_resuming_the_team_never_skips_an_approval_of_a_child(loom_run: Run, team: str, project: Path) -> None:
    assert loom_run("supervise", "edit", "-r", "t", team).code == 3
    for _ in range(3):
        assert loom_run("resume", "t").code == 3
    assert "whales" in (project / "README.md").read_text()


def test_the_approval_comes_before_the_change(loom_run: Run, script: Run, project: Path) -> None:
    loom_run("chat", "x", "-r", "demo", "--trust", script(calling(EDIT, TESTS), "done"))
    assert "whales" in (project / "README.md").read_text()
    calls = json.loads(_runner("tool-calls", "demo"))
    assert [call["name"] for call in calls] == ["run_tests"]


def test_the_tests_of_a_workspace_run_after_it_is_trusted(loom_run: Run, script: Run, project: Path) -> None:
    (project / "conftest.py").write_text("open('ran', 'w')\n")
    asked = loom_run("chat", "x", "-r", "demo", "--mode", "auto", script(calling(TESTS), "done"))
    assert asked.code == 3
    assert "would run what it brings" in asked.err and "conftest.py" in asked.err
    assert not (project / "ran").exists()
    assert "there is no terminal. Read what is listed, then: loom-run trust --yes" in loom_run("trust").err
    shown = loom_run("trust", "--yes")
    assert shown.code == 0 and "conftest.py" in shown.out
    assert loom_run("chat", "x", "-r", "again", script(calling(TESTS), "done")).out == "done\n"
    assert (project / "ran").exists()


def test_approve_works_on_a_child_of_an_unfinished_run(loom_run: Run, team: str, project: Path) -> None:
    loom_run("supervise", "edit", "-r", "t", team)
    assert loom_run("approve", "t:sub:coder").code == 0
    assert loom_run("resume", "t").out == "merged\n"
    assert "seals" in (project / "README.md").read_text()


def test_an_approval_request_survives_its_process_and_another_process_decides(script: Run, project: Path) -> None:
    first = _process("chat", "x", "-r", "demo", script(calling(EDIT), "done"))
    assert (first.returncode, first.stdout) == (3, "")
    assert _process("approve", "demo").returncode == 0
    ended = _process("resume", "demo")
    assert (ended.returncode, ended.stdout) == (0, "done\n")


def test_a_second_message_to_the_same_run_is_the_next_turn(loom_run: Run) -> None:
    loom_run("chat", "whales", "-r", "demo", "--mock-llm")
    assert loom_run("chat", "resume", "-r", "demo").code == 0
    assert loom_run("show", "demo", "--output", "json").json["turn"] == 2


@pytest.mark.parametrize(
    "path", ["-p evil", "--rootdir=/", "-c /etc/passwd", "../other", "/etc", "; id", "$(id)", "--help"]
)
def test_test_names_from_the_model_are_never_options_or_commands(
    loom_run: Run, script: Run, project: Path, path: str
) -> None:
    call = {"name": "run_tests", "arguments": {"path": path}}
    command = f'{sys.executable} -c \'import sys; open("ran", "w").write(repr(sys.argv))\''
    loom_run("chat", "x", "-r", "demo", script(calling(call), "done"), "--test-command", command)
    assert not (project / "ran").exists()
    result = next(m for m in loom_run("show", "demo", "--output", "json").json["messages"] if m["role"] == "tool")
    assert result["outcome"] == "failed"


def test_no_secret_of_the_environment_reaches_a_command(
    loom_run: Run, script: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-4711")
    command = f"{sys.executable} -c 'import os; print(sorted(os.environ.items()))'"
    loom_run("chat", "x", "-r", "demo", script(calling(TESTS), "done"), "--test-command", command)
    assert "canary-4711" not in Path("runs.sqlite").read_bytes().decode("latin-1")
    assert "PATH" in loom_run("export", "demo").out


def test_a_long_file_reports_what_is_omitted(loom_run: Run, script: Run, project: Path) -> None:
    (project / "long.txt").write_text("".join(f"line {n}\n" for n in range(5_000)))
    call = {"name": "read_file", "arguments": {"path": "long.txt"}}
    loom_run("chat", "x", "-r", "demo", script(calling(call), "done"))
    payload = next(m for m in loom_run("show", "demo", "--output", "json").json["messages"] if m["role"] == "tool")[
        "payload"
    ]
    assert (payload["truncated"], payload["total"], payload["next_offset"]) == (True, 5_000, 401)


def test_the_environment_is_never_changed(loom_run: Run) -> None:
    before = dict(os.environ)
    loom_run("chat", "whales", "--mock-llm", "--db", "other.sqlite", "--workspace", ".")
    now = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    assert now == {name: value for name, value in before.items() if name != "PYTEST_CURRENT_TEST"}


def test_a_model_that_only_calls_tools_is_stopped_with_a_message(loom_run: Run, script: Run) -> None:
    look = calling({"name": "list_files", "arguments": {}})
    ended = loom_run("chat", "x", "-r", "demo", script(*[look] * 60))
    assert ended.code == 4
    assert "demo stopped: 50 model requests in this turn; the limit is 50" in ended.err


def test_duplicate_call_ids_and_invalid_arguments_are_answered_one_by_one(loom_run: Run, script: Run) -> None:
    twice = [
        {"id": "same", "name": "write_file", "arguments": {"path": "a", "text": "1\n"}},
        {"id": "same", "name": "write_file", "arguments": {"path": "b", "text": "2\n"}},
        {"id": "same", "name": "write_file", "arguments": '{"path": "c"'},
        {"id": "same", "name": "write_file", "arguments": {"path": "d"}},
        {"id": "same", "name": "no_such_tool", "arguments": {}},
    ]
    ended = loom_run("chat", "x", "-r", "demo", script({"tool_calls": twice}, "done"), "--mode", "auto")
    assert ended.code == 0
    results = [m for m in loom_run("show", "demo", "--output", "json").json["messages"] if m["role"] == "tool"]
    assert [m["outcome"] for m in results] == ["success", "success", "failed", "failed", "failed"]
    assert len({m["call_id"] for m in results}) == 5
    assert (Path("a").read_text(), Path("b").read_text()) == ("1\n", "2\n")


def _process(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "loom_run", *arguments], capture_output=True, text=True, timeout=60)


def _runner(*arguments: str) -> str:
    command = [sys.executable, "-m", "loom_runner", *arguments, "--output", "json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
