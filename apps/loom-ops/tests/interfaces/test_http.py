"""Incidents over HTTP, with a real server process."""

import hashlib
import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loom_ops._drill import Drill

pytest.importorskip("fastapi", reason="the extra loom-ops[serve] is not installed")

pytestmark = pytest.mark.slow


class Server:
    def __init__(self, folder: Path, *words: str) -> None:
        command = [sys.executable, "-m", "loom_ops", "serve", "--port", "0", "--mock-llm", *words]
        self.process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        self.first_line = self.process.stderr.readline()
        found = re.search(r"at (http://\S+?)/?(?:#token=(\S+))?$", self.first_line.strip())
        assert found is not None, self.first_line
        self.url, self.token = found.groups()

    def ask(self, method: str, path: str, body: object = None, token: str | None = None) -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {token or self.token}", "content-type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, method=method, data=data, headers=headers)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as exc:
            return exc.code, json.loads(exc.read())

    def until(self, path: str, is_there: Any) -> Any:
        end = time.monotonic() + 60
        while not is_there(found := self.ask("GET", path)[1]):
            assert time.monotonic() < end, found
            time.sleep(0.1)
        return found

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        _, output = self.process.communicate(timeout=30)
        assert self.process.returncode == 0 and "Traceback" not in output, output


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.close()


def test_an_incident_is_started_approved_and_ended_over_http(server: Server, tmp_path: Path) -> None:
    assert server.ask("POST", "/v1/runs", {"run_id": "inc-001", "incident": "incident: API latency"})[0] == 202
    (request,) = server.until("/v1/approvals", lambda found: found["approvals"])["approvals"]
    assert request["policy"]["argv"] == ["rollback-service", "api"]
    assert (request["name"], request["ancestors"]) == ("executor", ["inc-001"])
    assert server.ask("GET", "/v1/runs/inc-001")[1]["display_status"] == "waiting"
    path = "/v1/runs/inc-001:sub:executor/approvals/1"
    assert server.ask("POST", path, {"decision": "approve", "note": "go", "arguments_hash": "0" * 32})[0] == 409
    answer = {"decision": "approve", "note": "go", "arguments_hash": request["arguments_hash"]}
    assert server.ask("POST", path, answer)[1]["approval"]["status"] == "approved"
    assert server.ask("POST", path, answer)[0] == 409
    ended = server.until("/v1/runs/inc-001", lambda found: found["status"] == "completed")
    assert ended["display_status"] == "recovered" and ended["result"]["verified"]
    server.until("/v1/runs/inc-001", lambda _: (tmp_path / "postmortems" / "inc-001.md").exists())
    trail = subprocess.run(
        [sys.executable, "-m", "loom_ops", "audit", "export"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert '"via": "http"' in trail.stdout


def test_the_paths_are_named_like_the_commands(server: Server, tmp_path: Path) -> None:
    (tmp_path / "runbooks").mkdir()
    (tmp_path / "runbooks" / "room.md").write_text("```check id=room\nkind: disk\npath: .\nexpect: '<= 100%'\n```\n")
    assert server.ask("POST", "/v1/runbook", {"run_id": "a", "runbook": "room"})[0] == 202
    assert server.until("/v1/runs/a", lambda found: found["status"] == "completed")["display_status"] == "nothing_to_do"
    body = {"run_id": "b", "incident": "disk", "runbook": "room"}
    assert server.ask("POST", "/v1/supervise", body)[0] == 202
    server.until("/v1/runs/b", lambda found: found["status"] == "completed")
    assert server.ask("POST", "/v1/runbook", {})[0] == 400


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, "`incident` is missing"),
        ({"incident": " "}, "`incident` is missing"),
        ({"incident": "api latency", "argv": ["id"]}, "'argv' is not known"),
        ({"incident": "api latency", "runbook": "../x"}, "not the name of one of this site"),
        ({"incident": "api latency", "runbook": "nope"}, "cannot find the runbook"),
        ({"incident": "api latency", "plan": "some"}, "`plan` is not `all`"),
        ({"incident": "api latency", "inputs": {"url": 5}}, "not an object of texts"),
        ({"incident": "api latency", "inputs": {"url": "file:///etc"}}, "does not match"),
        ({"incident": "the coffee is cold"}, "cannot choose a runbook"),
    ],
)
def test_an_invalid_request_is_refused(server: Server, body: dict[str, object], expected: str) -> None:
    status, answer = server.ask("POST", "/v1/runs", body)
    assert status == 400 and expected in answer["error"]["message"], answer


def test_a_token_approves_only_what_its_group_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = ""
    for name in ("alice", "eve"):
        digest = hashlib.sha256(name.encode()).hexdigest()
        tokens += f'[{name}]\nsha256 = "{digest}"\nscopes = ["read", "run", "approve"]\n'
    (tmp_path / "tokens.toml").write_text(tokens)
    (tmp_path / "loom-ops.toml").write_text('[groups]\noperators = ["alice"]\n')
    drill = Drill(tmp_path / "service")
    rule = "{argv: [rollback-service, '{service}'], params: {service: api}}"
    (tmp_path / "ops.rules.yaml").write_text(f"path: [{drill.folder / 'bin'}, /usr/bin, /bin]\nallow: [{rule}]\n")
    monkeypatch.setenv("LOOM_OPS_ALLOW_SHELL", "1")
    server = Server(tmp_path, "--token-file", "tokens.toml")
    try:
        with drill.serving() as url:
            server.token = "eve"
            body = {"run_id": "x", "incident": "api latency", "inputs": {"url": url}}
            assert server.ask("POST", "/v1/runs", body)[0] == 202
            server.until("/v1/approvals", lambda found: found["approvals"])
            path = "/v1/runs/x:sub:executor/approvals/1"
            status, answer = server.ask("POST", path, {"decision": "approve"})
            assert status == 403 and "eve is not in the group 'operators'" in answer["error"]["message"]
            assert drill.release == "2026.11.2"
            assert server.ask("POST", path, {"decision": "approve"}, token="alice")[0] == 200
            server.until("/v1/runs/x", lambda found: found["status"] == "completed")
            assert drill.release == "2026.11.1"
    finally:
        server.close()
