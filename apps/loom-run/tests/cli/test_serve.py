"""`loom-run serve` as a real process: chats, decisions from elsewhere, the end by a signal."""

import hashlib
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

EDIT = {"path": "README.md", "old": "whales", "new": "orcas"}
ASKS = {"text": "I edit it.", "tool_calls": [{"id": "1", "name": "edit_file", "arguments": EDIT}]}


class Served:
    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "loom_run", "serve", "--port", "0", *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        assert " at http://" in line, line + self.process.stderr.read()
        self.address, _, self.token = line.split(" at ")[1].strip().partition("#token=")

    def request(self, path: str, body: Any = None, *, token: str | None = None) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {token or self.token}", "content-type": "application/json"}
        try:
            with urllib.request.urlopen(
                urllib.request.Request(self.address + path, data, headers), timeout=20
            ) as found:
                return found.status, json.load(found)
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)

    def until(self, run_id: str, status: str) -> Any:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            code, run = self.request(f"v1/runs/{run_id}")
            if code == 200 and run["display_status"] == status:
                return run
            time.sleep(0.02)
        raise AssertionError(run)

    def end(self, how: int = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        _, err = self.process.communicate(timeout=20)
        assert err.splitlines()[-1:] == ["stopped"], err
        assert len(err.splitlines()) <= 2, err
        return self.process.returncode


@pytest.fixture
def serve(project: Path) -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(*arguments: str) -> Served:
        started.append(Served(*arguments))
        return started[-1]

    yield start
    for served in started:
        if served.process.poll() is None:
            served.end()


def test_a_chat_is_started_waits_for_a_decision_and_is_answered(serve: Any, project: Path, script: Run) -> None:
    served = serve(script(ASKS, "Done.", "Bye."))
    assert served.request("v1/runs", {"message": "edit it", "run_id": "e"})[0] == 202
    run = served.until("e", "approval")
    (request,) = run["approvals"]
    assert (request["tool"], request["arguments"]) == ("edit_file", EDIT)
    assert "whales" in (project / "README.md").read_text()
    assert served.request("v1/runs/e/messages", {"message": "now?"})[0] == 400
    assert (
        served.request("v1/runs/e/approvals/1", {"decision": "approve", "arguments_hash": request["arguments_hash"]})[0]
        == 200
    )
    run = served.until("e", "answered")
    assert (run["answer"], run["title"], run["setup"]["workspace"]) == ("Done.", "edit it", str(project))
    assert "orcas" in (project / "README.md").read_text()
    assert served.request("v1/runs/e/messages", {"message": "thanks"})[0] == 202
    assert served.until("e", "answered")["turn"] in (1, 2)
    end = time.monotonic() + 20
    while served.request("v1/runs/e")[1]["answer"] != "Bye." and time.monotonic() < end:
        time.sleep(0.02)
    assert served.request("v1/runs/e")[1]["answer"] == "Bye."


def test_a_run_takes_decisions_from_the_terminal_and_over_http(serve: Any, script: Run, loom_run: Run) -> None:
    served = serve(script(ASKS, "Done."))
    served.request("v1/runs", {"message": "edit it", "run_id": "e"})
    served.until("e", "approval")
    assert loom_run("deny", "e", "--note", "not now").code == 0
    assert served.request("v1/runs/e/approvals/1", {"decision": "approve"})[0] == 409
    assert served.request("v1/runs/e/resume", {})[0] == 202
    run = served.until("e", "answered")
    assert [message["outcome"] for message in run["messages"] if message["role"] == "tool"] == ["denied"]
    assert loom_run("show", "e", "--output", "json").json["answer"] == "Done."


def test_a_decision_over_http_about_a_child_resumes_its_parent(serve: Any, project: Path, loom_run: Run) -> None:
    delegate = {"name": "delegate", "arguments": {"agent": "coder", "task": "edit"}}
    lead = [{"tool_calls": [{"id": "d", **delegate}]}, "merged"]
    script = {"format": "loom-script/1", "replies": lead, "agents": {"coder": [ASKS, "edited"]}}
    (project / "team.json").write_text(json.dumps(script))
    (project / "loom.toml").write_text('[agents.coder]\nprompt = "You edit."\n')
    assert loom_run("supervise", "edit it", "-r", "team", "--mock-llm=team.json").code == 3
    served = serve("--mock-llm")
    (request,) = served.request("v1/approvals")[1]["approvals"]
    assert request["run_id"] == "team:sub:coder"
    assert served.request("v1/runs/team:sub:coder/approvals/1", {"decision": "approve"})[0] == 200
    assert served.until("team", "answered")["answer"] == "merged"
    rows = {row["run_id"]: row["parent_run_id"] for row in served.request("v1/runs")[1]["runs"]}
    assert rows == {"team": None, "team:sub:coder": "team"}
    assert "orcas" in (project / "README.md").read_text()


def test_a_decision_is_kept_when_the_run_cannot_be_resumed(serve: Any, project: Path, script: Run) -> None:
    (project / ".mcp.json").write_text('{"mcpServers": {}}')
    served = serve(script(ASKS, "Done."), "--trust")
    served.request("v1/runs", {"message": "edit it", "run_id": "e"})
    served.until("e", "approval")
    (project / ".mcp.json").write_text('{"mcpServers": {"new": {"command": "x"}}}')
    status, answer = served.request("v1/runs/e/approvals/1", {"decision": "approve"})
    assert (status, answer["approval"]["status"]) == (200, "approved")
    assert "you have not trusted it" in answer["not_resumed"]
    assert served.request("v1/runs/e/resume", {})[0] == 400
    (project / ".mcp.json").write_text('{"mcpServers": {}}')
    assert served.request("v1/runs/e/resume", {})[0] == 202
    served.until("e", "answered")


def test_a_client_chooses_the_message_and_the_limits_only(serve: Any) -> None:
    served = serve("--mock-llm")
    for wrong in (
        {},
        {"message": " "},
        {"message": "x", "workspace": "/"},
        {"message": "x", "mode": "auto"},
        {"message": "x", "max_tokens": -1},
        {"message": "x", "max_requests": 1.5},
        {"message": "x", "max_cost_usd": True},
    ):
        status, answer = served.request("v1/runs", wrong)
        assert (status, answer["error"]["message"][:19]) == (400, "cannot start a chat")
    assert served.request("v1/runs", {"message": "x", "run_id": "r", "max_requests": 1})[0] == 202
    assert served.until("r", "limit")["answer"] is None
    assert served.request("v1/runs", {"message": "other", "run_id": "r"})[0] == 400
    assert served.request("v1/runs", {"message": "x", "run_id": "r"})[0] == 202


def test_a_run_of_another_program_is_listed_but_takes_no_messages(serve: Any, project: Path) -> None:
    code = (
        "import asyncio\nfrom loom_runner import AgentRunner, Complete, SQLiteStore\n"
        "async def step(state, ctx): return Complete(7)\n"
        "asyncio.run(AgentRunner(step=step, store=SQLiteStore('runs.sqlite')).start(run_id='far', initial_state=3))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    served = serve("--mock-llm")
    (row,) = served.request("v1/runs")[1]["runs"]
    assert (row["run_id"], row["display_status"], row["accepts_messages"]) == ("far", "completed", False)
    assert served.request("v1/runs/far/messages", {"message": "x"})[0] == 400


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_exits_with_0_and_the_command_line_resumes_the_chat(
    serve: Any, project: Path, script: Run, loom_run: Run, how: int
) -> None:
    call = {"tool_calls": [{"id": "1", "name": "run_tests", "arguments": {}}]}
    slow = (
        "import time, pathlib; pathlib.Path('begun').touch(); time.sleep(0 if pathlib.Path('quick').exists() else 60)"
    )
    served = serve(script(call, "They ran."), "--test-command", f'{sys.executable} -c "{slow}"')
    served.request("v1/runs", {"message": "test it", "run_id": "t"})
    end = time.monotonic() + 20
    while not (project / "begun").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    began = time.monotonic()
    assert served.end(how) == 0
    assert time.monotonic() - began < 5
    (project / "quick").touch()
    resumed = loom_run("resume", "t")
    assert (resumed.code, resumed.out) == (0, "They ran.\n")


def test_tokens_in_a_file_have_their_scopes_and_names(serve: Any, project: Path, script: Run) -> None:
    entries = [("alice", "read", "a"), ("bob", "approve", "b"), ("carol", "run", "c")]
    lines = [
        f'[{name}]\nsha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\nscopes = ["read", "{scope}"]'
        for name, scope, token in entries
    ]
    (project / "tokens.toml").write_text("\n".join(lines))
    served = serve(script(ASKS, "Done."), "--token-file", "tokens.toml")
    assert served.token == ""
    assert served.request("v1/runs", {"message": "edit", "run_id": "e"}, token="a")[0] == 403
    assert served.request("v1/runs", {"message": "edit", "run_id": "e"}, token="c")[0] == 202
    served.token = "a"
    served.until("e", "approval")
    assert served.request("v1/runs/e/approvals/1", {"decision": "approve"}, token="c")[0] == 403
    status, decided = served.request("v1/runs/e/approvals/1", {"decision": "approve", "note": "ok"}, token="b")
    assert (status, decided["approval"]["decisions"][0]["by"]) == (200, "bob")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--mock-llm", "--host", "0.0.0.0"), "others can reach it"),
        (("--mock-llm", "--host", "nowhere.invalid"), "others can reach it"),
        ((), "no model is named"),
        (("--mock-llm", "--token-file", "none.toml"), "cannot read none.toml"),
        (("--mock-llm=none.json",), "none.json"),
    ],
)
def test_a_server_that_cannot_start_reports_it_in_one_line(
    loom_run: Run, arguments: tuple[str, ...], expected: str
) -> None:
    ended = loom_run("serve", "--port", "0", *arguments)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert expected in ended.err


def test_a_port_in_use_is_reported_in_one_line(loom_run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = loom_run("serve", "--mock-llm", "--port", str(taken.getsockname()[1]))
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "Choose another --host or --port" in ended.err


def test_a_question_of_an_mcp_server_is_answered_by_another_process(project: Path, script: Run, loom_run: Run) -> None:
    server = Path(__file__).parents[4] / "packages" / "loom-agents" / "tests" / "mcp" / "servers" / "real.py"
    servers = {"real": {"command": sys.executable, "args": [str(server), "stdio"]}}
    (project / ".mcp.json").write_text(json.dumps({"mcpServers": servers}))
    effects = project / "effects"
    call = {"id": "1", "name": "real__delete", "arguments": {"path": "a.txt", "effects": str(effects)}}
    option = script({"tool_calls": [call]}, "It is gone.")
    parked = loom_run("chat", "delete a.txt", "-r", "q", "--trust", "--mode", "auto", option)
    assert parked.code == 3
    assert "Delete a.txt? (sure: yes or no)" in parked.err
    assert not effects.exists()
    answered = loom_run("chat", "yes", "-r", "q")
    assert (answered.code, answered.out) == (0, "It is gone.\n")
    assert effects.read_text() == "deleted a.txt\n"
