"""The HTTP interface on loopback: permissions, streams of events, approvals, shutdown."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pytest
from loom_agents._serve.guard import host_name
from loom_runner.store import Status
from prometheus_client.parser import text_string_to_metric_families

PRODUCT = Path(__file__).parent / "product_process.py"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def error(self) -> str:
        return self.json["error"]["message"]


@dataclass
class Server:
    database: Path
    arguments: tuple[str, ...] = ()
    token: str = ""
    port: int = 0
    process: Any = field(init=False, default=None)

    def start(self) -> None:
        command = [sys.executable, str(PRODUCT), str(self.database), str(self.port), *self.arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        address, self.token = line.split()
        self.port = int(address.rstrip("/").rpartition(":")[2])

    def end(self, how: int = signal.SIGTERM) -> str:
        """Stop the server and return its output on stderr."""
        self.process.send_signal(how)
        _, err = self.process.communicate(timeout=20)
        return err

    def ask(self, method: str, path: str, body: Any = None, *, token: str | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if token != "":
            given.setdefault("authorization", f"Bearer {token or self.token}")
        if data is not None:
            given.setdefault("content-type", "application/json")
        connection.request(method, path, data, given)
        response = connection.getresponse()
        answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read().decode())
        connection.close()
        return answer

    def get(self, path: str, **more: Any) -> Answer:
        return self.ask("GET", path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> Answer:
        return self.ask("POST", path, body if body is not None else {}, **more)

    @contextmanager
    def stream(self, path: str, last: str | None = None) -> Iterator[Iterator[dict[str, Any]]]:
        """Open a stream of events and yield them until it ends."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = {"authorization": f"Bearer {self.token}"} | ({"last-event-id": last} if last is not None else {})
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        assert response.status == 200, response.read()
        try:
            yield _events(response)
        finally:
            connection.close()
            response.close()

    def until(self, run_id: str, standing: str) -> Any:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            run = self.get(f"/v1/runs/{run_id}")
            if run.status == 200 and run.json["display_status"] == standing:
                return run.json
            time.sleep(0.02)
        raise AssertionError(f"{run_id} is not {standing}: {run.text[:500]}")


def _events(response: Any) -> Iterator[dict[str, Any]]:
    event: dict[str, Any] = {}
    for raw in response:
        line = raw.decode().rstrip("\r\n")
        if not line and event:
            yield event
            event = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = json.loads(value) if name == "data" else value


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is shared by the tests that do not stop it."""
    started = Server(tmp_path_factory.mktemp("serve") / "runs.sqlite")
    started.start()
    yield started
    assert started.end() == ""


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server that a test may stop."""
    started = Server(tmp_path / "runs.sqlite")
    started.start()
    yield started
    if started.process.poll() is None:
        started.end()


def test_a_run_is_started_approved_and_answered(server: Server) -> None:
    accepted = server.post("/v1/runs", {"message": "the file"}, idempotency_key="whole")
    assert (accepted.status, accepted.json) == (202, {"run_id": "whole", "events": "/v1/runs/whole/events"})
    run = server.until("whole", "waiting")
    (request,) = server.get("/v1/approvals?run_id=whole").json["approvals"]
    assert (request["tool"], request["arguments"], request["reason"]) == ("touch", {"text": "the file"}, "it touches")
    assert run["approvals"] == [request]
    decided = server.post("/v1/runs/whole/approvals/1", {"decision": "approve", "note": "go"})
    assert (decided.status, decided.json["approval"]["status"]) == (200, "approved")
    assert decided.json["approval"]["decisions"][0] | {"at": ""} == {
        "by": "local",
        "how": "approve",
        "at": "",
        "via": "http",
        "note": "go",
        "of": request["arguments_hash"],
        "signature": "",
    }
    run = server.until("whole", "answered")
    assert run["answer"] == "Done: touched the file"
    assert [call["name"] for call in run["tool_calls"]] == ["touch"]
    assert server.get("/v1/approvals").json["approvals"] == []
    assert server.get("/v1/runs/whole/explain").json["run_id"] == "whole"
    page = server.get("/v1/runs/whole/trace.html")
    assert (page.headers["content-type"], page.text[:15].lower()) == ("text/html; charset=utf-8", "<!doctype html>")


def test_a_denial_reaches_the_model_with_its_note_and_edited_arguments_are_used(server: Server) -> None:
    for run_id, body, answer in [
        ("denied", {"decision": "deny", "note": "not today"}, "not today"),
        ("edited", {"decision": "edit", "arguments": {"text": "another"}}, "touched another"),
    ]:
        server.post("/v1/runs", {"message": "x", "run_id": run_id})
        server.until(run_id, "waiting")
        assert server.post(f"/v1/runs/{run_id}/approvals/1", body).status == 200
        assert answer in server.until(run_id, "answered")["answer"]


def test_a_decision_is_made_once_about_the_arguments_that_were_shown(server: Server) -> None:
    server.post("/v1/runs", {"message": "x", "run_id": "once"})
    (request,) = server.until("once", "waiting")["approvals"]
    where = "/v1/runs/once/approvals/1"
    assert server.post(where, {"decision": "approve", "arguments_hash": "00"}).status == 409
    assert server.post(where, {"decision": "approve", "arguments_hash": request["arguments_hash"]}).status == 200
    again = server.post(where, {"decision": "deny"})
    assert again.status == 409
    assert again.error.startswith("cannot decide once#1: it is ")
    assert server.post("/v1/runs/once/approvals/9", {"decision": "approve"}).status == 404
    assert server.post("/v1/runs/none/approvals/1", {"decision": "approve"}).status == 404
    for wrong in (
        {},
        {"decision": "maybe"},
        {"decision": "edit"},
        {"decision": "approve", "note": 3},
        {"decision": "approve", "arguments": {}},
    ):
        assert server.post(where, wrong).status == 400, wrong


def test_long_arguments_and_results_are_truncated_in_events_and_complete_in_the_run(server: Server) -> None:
    server.post("/v1/runs", {"message": "x" * 5000, "run_id": "long"})
    server.until("long", "waiting")
    server.post("/v1/runs/long/approvals/1", {"decision": "approve"})
    run = server.until("long", "answered")
    assert run["tool_calls"][0]["result"] == "touched " + "x" * 5000
    with server.stream("/v1/runs/long/events") as events:
        done = next(event["data"] for event in events if event["data"].get("status") == "done")
    for shown in (done["arguments"], done["result"]):
        assert (shown["truncated"], len(shown["text"])) == (True, 4000)
        assert shown["total_characters"] > 5000


def test_a_product_can_refuse_a_caller(server: Server) -> None:
    server.post("/v1/runs", {"message": "the crown", "run_id": "crown"})
    server.until("crown", "waiting")
    refused = server.post("/v1/runs/crown/approvals/1", {"decision": "approve"})
    assert (refused.status, refused.error) == (403, "cannot approve crown#1: local may not touch the crown.")
    assert server.get("/v1/approvals?run_id=crown").json["approvals"][0]["decisions"] == []
    assert server.post("/v1/runs/crown/approvals/1", {"decision": "deny"}).status == 200


def test_a_start_request_is_idempotent_and_a_message_starts_the_next_turn(server: Server) -> None:
    for _ in range(2):
        assert server.post("/v1/runs", {"message": "a", "run_id": "twice"}).status == 202
        server.until("twice", "waiting")
    assert len(server.get("/v1/approvals?run_id=twice").json["approvals"]) == 1
    server.post("/v1/runs/twice/approvals/1", {"decision": "approve"})
    server.until("twice", "answered")
    assert server.post("/v1/runs/twice/messages", {"message": "b"}).status == 202
    server.until("twice", "waiting")
    taken = server.post("/v1/runs", {"message": "other", "run_id": "twice"})
    assert (taken.status, taken.json["error"]["type"]) == (409, "RunExists")


def test_an_invalid_request_is_refused_and_starts_nothing(server: Server) -> None:
    before = len(server.get("/v1/runs?limit=1000").json["runs"])
    for path, body in [
        ("/v1/runs", {}),
        ("/v1/runs", {"message": 3}),
        ("/v1/runs", {"message": "x", "run_id": 3}),
        ("/v1/runs", {"message": "x", "run_id": "a#b"}),
        ("/v1/runs", b"{"),
        ("/v1/runs", b"[]"),
        ("/v1/runs", b"\xff"),
    ]:
        answer = server.post(path, body)
        assert answer.status == 400, (body, answer.text)
        assert answer.error.startswith("cannot ")
    assert server.post("/v1/runs/none/messages", {"message": "x"}).status == 404
    assert server.post("/v1/runs/none/resume").status == 404
    assert server.post("/v1/runs/none/cancel").status == 404
    assert server.get("/v1/runs/none").status == 404
    assert server.get("/v1/runs/none/events").status == 404
    assert server.get("/v1/nothing").status == 404
    assert server.get("/v1/runs?limit=0").status == 400
    assert len(server.get("/v1/runs?limit=1000").json["runs"]) == before


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", "Basic abc", "Bearer \xff"])
def test_without_a_valid_token_nothing_is_shown(server: Server, authorization: str) -> None:
    for path in ("/v1/runs", "/v1/events", "/v1/approvals", "/metrics", "/v1/session", "/v1/runs/x/trace.html"):
        answer = server.ask("GET", path, token="", **({"authorization": authorization} if authorization else {}))
        assert answer.status == 401, path
        assert answer.headers["www-authenticate"] == "Bearer"
    assert server.ask("POST", "/v1/runs", {"message": "x"}, token="no").status == 401
    assert server.ask("GET", "/healthz", token="").json == {"status": "ok"}


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::2]:80", "localhost.evil:80"])
def test_a_request_to_another_host_name_is_refused(server: Server, host: str) -> None:
    assert server.get("/v1/runs", host=host).status == 421
    assert server.get("/", host=host).status == 421


def test_the_names_of_the_server_are_accepted(server: Server) -> None:
    for host in ("localhost", f"127.0.0.1:{server.port}", "LOCALHOST:1", "[::1]:80"):
        assert server.get("/healthz", host=host).status == 200
    assert [host_name(host) for host in ("a:1", "[::1]:2", "A")] == ["a", "[::1]", "a"]


def test_a_body_that_is_too_long_is_refused_with_or_without_its_length(server: Server) -> None:
    assert server.post("/v1/runs", {"message": "x" * 1_000_001}).status == 413
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        head = f"POST /v1/runs HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {server.token}\r\ntransfer-encoding: chunked\r\n\r\n"
        raw.sendall(head.encode())
        piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        try:
            for _ in range(40):
                raw.sendall(piece)
        except OSError:
            pass
        assert b" 413 " in raw.recv(4096).partition(b"\r\n")[0]


def test_a_stream_interrupted_at_every_event_continues_without_a_gap_or_a_repeat(server: Server) -> None:
    server.post("/v1/runs", {"message": "cut", "run_id": "cut"})
    server.until("cut", "waiting")
    server.post("/v1/runs/cut/approvals/1", {"decision": "approve"})
    server.until("cut", "answered")
    server.post("/v1/runs/cut/cancel", {"note": "enough"})
    with server.stream("/v1/runs/cut/events") as events:
        whole = list(events)
    assert whole[-1] == {"event": "end", "data": {"run_id": "cut", "status": "cancelled"}}
    numbers = [int(event["id"]) for event in whole[:-1]]
    assert numbers == sorted(set(numbers))
    kinds = [(event["event"], event["data"].get("status") or event["data"].get("outcome")) for event in whole[:-1]]
    for entry in [
        ("approval", "pending"),
        ("approval", "approved"),
        ("tool", "done"),
        ("step", "wait"),
        ("run", "cancelled"),
    ]:
        assert entry in kinds
    for index, event in enumerate(whole[:-1]):
        with server.stream("/v1/runs/cut/events", last=event["id"]) as events:
            assert list(events) == whole[index + 1 :]


def test_a_live_stream_with_many_interruptions_gets_the_same_events_as_one_without(server: Server) -> None:
    """Read each event with a new connection while the run continues."""
    server.post("/v1/runs", {"message": "live", "run_id": "live"})
    seen: list[Any] = []
    last, decided = "0", False
    while not any(event["data"].get("outcome") == "wait" for event in seen):
        with server.stream("/v1/runs/live/events", last=last) as events:
            event = next(event for event in events if "id" in event)
        seen.append(event)
        last = event["id"]
        if event["event"] == "approval" and not decided:
            decided = server.post("/v1/runs/live/approvals/1", {"decision": "approve"}).status == 200
    with server.stream("/v1/runs/live/events") as events:
        assert [next(event for event in events if "id" in event)["id"] for _ in seen] == [event["id"] for event in seen]


@pytest.mark.parametrize("last", ["x", "-1", "99999999", "1e3", "9" * 40, "\u00b2"])
def test_an_unknown_event_id_gets_all_events_again(server: Server, last: str) -> None:
    server.post("/v1/runs", {"message": "x", "run_id": "resync"})
    server.until("resync", "waiting")
    with server.stream("/v1/runs/resync/events") as events:
        first = next(event for event in events if "id" in event)
    with server.stream("/v1/runs/resync/events", last=last) as events:
        assert next(events)["event"] == "resync"
        assert next(event for event in events if "id" in event) == first


def test_two_clients_of_a_run_get_the_same_events_and_live_deltas(server: Server) -> None:
    with server.stream("/v1/events") as one, server.stream("/v1/events") as two:
        server.post("/v1/runs", {"message": "both", "run_id": "both"})

        def up_to_the_question(events: Any) -> list[Any]:
            found = []
            for event in events:
                if event["data"].get("run_id") == "both":
                    found.append(event)
                    if event["event"] == "approval":
                        return found
            raise AssertionError

        first, second = up_to_the_question(one), up_to_the_question(two)
        assert [event for event in first if "id" in event] == [event for event in second if "id" in event]
        assert "touch " in [event["data"].get("text") for event in first if event["event"] == "live"]


def test_events_of_another_process_are_sent(server: Server) -> None:
    code = f"""
import asyncio
from loom_agents import AgentState
from loom_runner import AgentRunner, Complete, SQLiteStore
async def step(state, ctx): return Complete(1)
state = AgentState().with_user("far").to_json()
asyncio.run(AgentRunner(step=step, store=SQLiteStore({str(server.database)!r})).start(run_id="far", initial_state=state))
"""
    with server.stream("/v1/events", last=str(server.get("/v1/runs").json["seq"])) as events:
        subprocess.run([sys.executable, "-c", code], check=True)
        assert next(event for event in events if event["data"].get("run_id") == "far")["event"] == "run"


def test_a_cancelled_run_stops_at_once(server: Server) -> None:
    server.post("/v1/runs", {"message": "slow", "run_id": "stop"})
    with server.stream("/v1/runs/stop/events") as events:
        next(event for event in events if event["event"] == "tool")
        assert server.post("/v1/runs/stop/resume").status == 409
        assert server.post("/v1/runs/stop/cancel", {"note": "enough"}).json == {"cancelled": ["stop"]}
        assert list(events)[-1] == {"event": "end", "data": {"run_id": "stop", "status": "cancelled"}}
    assert server.post("/v1/runs/stop/cancel", {"note": 3}).status == 400


def test_run_ids_may_have_any_printable_characters(server: Server) -> None:
    from urllib.parse import quote

    for name in ("a/b", "chat:x y", "\u00e9\u4e2d"):
        where = server.ask("POST", "/v1/runs", {"message": "x", "run_id": name}).headers["location"]
        assert where == f"/v1/runs/{quote(name, safe='')}"
        assert server.until(quote(name, safe=""), "waiting")["run_id"] == name


def test_metrics_count_runs_streams_and_events(server: Server) -> None:
    assert server.post("/v1/runs", {"run_id": "counted", "message": "x"}).status == 202
    families = {family.name: family for family in text_string_to_metric_families(server.get("/metrics").text)}
    assert families["loom_runs"].type == "gauge"
    assert sum(sample.value for sample in families["loom_runs"].samples) >= 1
    assert {sample.labels["status"] for sample in families["loom_runs"].samples} <= set(get_args(Status))
    assert families["loom_event_streams"].samples[0].value == 0
    assert families["loom_events"].samples[0].value >= 1


def test_the_page_has_no_data_and_loads_nothing_from_other_servers(server: Server) -> None:
    page = server.ask("GET", "/", token="")
    assert page.status == 200
    assert "tiny &lt;product&gt;" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"
    for name in ("page.js", "page.css"):
        assert f"/{name}" in page.text
        assert server.ask("GET", f"/{name}", token="").status == 200
    assert server.get("/docs").status == 404


def test_a_cookie_replaces_the_token_and_changes_need_the_header_of_the_page(server: Server) -> None:
    opened = server.post("/v1/session")
    assert opened.json == {"name": "local", "scopes": ["admin", "approve", "read", "run"]}
    cookie = opened.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert server.token not in cookie
    given = {"token": "", "cookie": cookie.partition(";")[0]}
    assert server.ask("GET", "/v1/runs", **given).status == 200
    assert server.ask("POST", "/v1/runs/none/resume", {}, **given).status == 403
    assert server.ask("POST", "/v1/runs/none/resume", {}, x_loom_page="1", **given).status == 404
    assert server.ask("GET", "/v1/runs", token="", cookie=f"loom_{server.port}=guess").status == 401


def test_sigterm_with_open_streams_ends_in_time_and_the_run_can_be_resumed(own_server: Server) -> None:
    own_server.post("/v1/runs", {"message": "slow", "run_id": "r"})
    with own_server.stream("/v1/runs/r/events") as one, own_server.stream("/v1/events") as two:
        for events in (one, two):
            next(event for event in events if event["event"] == "tool")
        began = time.monotonic()
        err = own_server.end()
        assert time.monotonic() - began < 5
    assert own_server.process.returncode == 0
    assert err == ""
    before = own_server.port
    own_server.start()  # on the same port
    assert own_server.port == before
    assert own_server.get("/v1/runs/r").json["status"] != "completed"
    assert own_server.post("/v1/runs/r/resume").status == 202


def test_events_continue_at_the_next_server(own_server: Server) -> None:
    own_server.post("/v1/runs", {"message": "x", "run_id": "r"})
    own_server.until("r", "waiting")
    with own_server.stream("/v1/runs/r/events") as events:
        seen = [next(event for event in events if "id" in event) for _ in range(2)]
        own_server.end(signal.SIGKILL)
    own_server.start()
    own_server.post("/v1/runs/r/approvals/1", {"decision": "approve"})
    own_server.until("r", "answered")
    with own_server.stream("/v1/runs/r/events") as events:
        whole = [next(event for event in events if "id" in event) for _ in range(6)]
    with own_server.stream("/v1/runs/r/events", last=seen[-1]["id"]) as events:
        assert [*seen, *(next(event for event in events if "id" in event) for _ in range(4))] == whole
