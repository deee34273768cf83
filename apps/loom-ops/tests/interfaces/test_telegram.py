"""The Telegram interface as a real process, against a Bot API on loopback."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from loom_ops._drill import Drill

pytest.importorskip("telegram", reason="the extra loom-ops[telegram] is not installed")

ALICE, EVE, CHAT = 7, 8, 100

pytestmark = pytest.mark.slow


class BotApi:
    """A fake of the Bot API: updates to return, calls received, errors to raise."""

    def __init__(self) -> None:
        self.updates: list[dict[str, Any]] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.trouble: list[tuple[int, dict[str, Any]]] = []
        self.url = ""
        self._lock = threading.Lock()
        self._next = 1

    def answer(self, method: str, given: dict[str, Any]) -> tuple[int, Any]:
        with self._lock:
            if method != "getUpdates":
                self.calls.append((method, given))
            if method == "getMe":
                return 200, {"id": 1, "is_bot": True, "first_name": "ops", "username": "ops_bot"}
            if method == "getUpdates":
                if self.trouble:
                    return self.trouble.pop(0)
                first = int(given.get("offset", 0))
                return 200, [update for update in self.updates if update["update_id"] >= first]
            if method in ("sendMessage", "editMessageText"):
                chat = {"id": int(given["chat_id"]), "type": "group", "title": "ops"}
                return 200, {"message_id": len(self.calls), "date": 0, "chat": chat, "text": given["text"]}
            return 200, True

    def press(self, data: str, user: int) -> int:
        message = {"message_id": 1, "date": 0, "chat": {"id": CHAT, "type": "group"}, "text": "x"}
        person = {"id": user, "is_bot": False, "first_name": "x"}
        return self._give(
            {"callback_query": {"id": "q", "from": person, "chat_instance": "c", "data": data, "message": message}}
        )

    def say(self, text: str, user: int) -> int:
        person = {"id": user, "is_bot": False, "first_name": "x"}
        return self._give(
            {
                "message": {
                    "message_id": 1,
                    "date": 0,
                    "chat": {"id": CHAT, "type": "group"},
                    "from": person,
                    "text": text,
                }
            }
        )

    def _give(self, update: dict[str, Any]) -> int:
        with self._lock:
            self._next += 1
            self.updates.append({"update_id": self._next, **update})
            return self._next

    def called(self, method: str) -> list[dict[str, Any]]:
        with self._lock:
            return [given for name, given in self.calls if name == method]

    def until(self, method: str, text: str) -> dict[str, Any]:
        end = time.monotonic() + 60
        while True:
            found = [given for given in self.called(method) if text in given.get("text", "")]
            if found:
                return found[-1]
            assert time.monotonic() < end, self.calls
            time.sleep(0.05)


@pytest.fixture
def api() -> Iterator[BotApi]:
    api = BotApi()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            given = {name: values[0] for name, values in parse_qs(body).items()}
            method = self.path.rpartition("/")[2]
            status, result = api.answer(method, given)
            if method == "getUpdates" and status == 200 and not result:
                time.sleep(0.05)
            self.send_response(status)
            self.end_headers()
            answer = {"ok": True, "result": result} if status == 200 else {"ok": False, "error_code": status, **result}
            try:
                self.wfile.write(json.dumps(answer).encode())
            except OSError:
                pass  # the client was interrupted

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield api
    server.shutdown()
    server.server_close()
    thread.join()


class Folder:
    def __init__(self, folder: Path, api: BotApi) -> None:
        self.folder = folder
        self.environment = {**os.environ, "TELEGRAM_TOKEN": "1:s3cr3t-token"}
        (folder / "loom-ops.toml").write_text(
            f'[groups]\noperators = ["alice"]\n[telegram]\nchat = {CHAT}\npeople = {{"{ALICE}" = "alice"}}\nbase_url = "{api.url}"\n'
        )

    def run(self, *words: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "loom_ops", *words]
        ended = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120
        )
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    def process(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "loom_ops", "telegram"]
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, stderr=subprocess.PIPE, text=True)

    @staticmethod
    def end(process: subprocess.Popen[str]) -> str:
        process.send_signal(signal.SIGINT)
        _, output = process.communicate(timeout=30)
        assert process.returncode == 130 and "Traceback" not in output and "s3cr3t" not in output, output
        return output


@pytest.fixture
def folder(tmp_path: Path, api: BotApi) -> Folder:
    folder = Folder(tmp_path, api)
    folder.run("supervise", "incident: API latency", "--run-id", "inc-001", "--mock-llm", "--drill", code=3)
    return folder


def buttons(sent: dict[str, Any]) -> dict[str, str]:
    (row,) = json.loads(sent["reply_markup"])["inline_keyboard"]
    assert all(len(button["callback_data"].encode()) <= 64 for button in row)
    return {button["text"]: button["callback_data"] for button in row}


def test_an_approval_is_requested_given_by_a_button_and_the_run_resumes(folder: Folder, api: BotApi) -> None:
    process = folder.process()
    message = api.until("sendMessage", "rollback-service api")
    assert "undo: redeploy-service api" in message["text"] and int(message["chat_id"]) == CHAT
    api.press(buttons(message)["Approve"], EVE)
    api.until("answerCallbackQuery", "You are not registered here")
    api.press("nonsense", ALICE)
    api.until("answerCallbackQuery", "does not belong to a request here")
    api.say("/approvals", ALICE)
    api.until("sendMessage", "inc-001:sub:executor#r1: rollback-service api")
    api.say("/explain inc-001", EVE)
    api.until("sendMessage", "You are not registered here")
    assert Drill(folder.folder / "ops.sqlite.drill" / "inc-001").commands == []
    api.press(buttons(message)["Approve"], ALICE)
    api.until("editMessageText", "approved by alice")
    api.until("sendMessage", "inc-001: recovered")
    api.press(buttons(message)["Deny"], ALICE)
    api.until("answerCallbackQuery", "approved by alice; it is used")
    Folder.end(process)
    trail = folder.run("audit", "export")
    assert '"actor": "alice"' in trail and '"via": "telegram"' in trail and '"actor": "telegram-8"' in trail
    assert b"s3cr3t" not in (folder.folder / "ops.sqlite").read_bytes()


def test_a_restart_sends_no_second_request_and_handles_nothing_twice(folder: Folder, api: BotApi) -> None:
    process = folder.process()
    message = api.until("sendMessage", "rollback-service api")
    api.press(buttons(message)["Deny"], ALICE)
    api.until("editMessageText", "denied by alice")
    api.until("sendMessage", "inc-001: denied")
    Folder.end(process)
    before = len(api.called("answerCallbackQuery"))
    again = folder.process()
    api.say("/approvals", ALICE)
    api.until("sendMessage", "Nothing waits.")
    Folder.end(again)
    assert len(api.called("answerCallbackQuery")) == before
    assert len([given for given in api.called("sendMessage") if "rollback-service" in given["text"]]) == 1


def test_a_decision_made_elsewhere_is_shown_and_the_buttons_do_nothing(folder: Folder, api: BotApi) -> None:
    process = folder.process()
    message = api.until("sendMessage", "rollback-service api")
    folder.run("deny", "--run-id", "inc-001")
    api.until("editMessageText", "denied by")
    api.press(buttons(message)["Approve"], ALICE)
    api.until("answerCallbackQuery", "denied by")
    Folder.end(process)


def test_requests_are_retried_after_errors_of_telegram(folder: Folder, api: BotApi) -> None:
    api.trouble = [
        (429, {"description": "Too Many Requests: retry after 1", "parameters": {"retry_after": 1}}),
        (500, {"description": "Internal Server Error"}),
        (502, {"description": "Bad Gateway"}),
    ]
    process = folder.process()
    api.say("/approvals", ALICE)
    api.until("sendMessage", "inc-001:sub:executor#r1")
    assert "trying again" in Folder.end(process)


def test_a_missing_token_people_or_answer_is_reported_in_one_line(folder: Folder, api: BotApi) -> None:
    del folder.environment["TELEGRAM_TOKEN"]
    assert "TELEGRAM_TOKEN is not set" in folder.run("telegram", code=6)
    folder.environment["TELEGRAM_TOKEN"] = "1:s3cr3t-token"
    (folder.folder / "loom-ops.toml").write_text(
        '[telegram]\nchat = 5\nbase_url = "http://127.0.0.1:9"\npeople = {"7" = "alice"}\n'
    )
    output = folder.run("telegram", code=6)
    assert "cannot reach Telegram" in output and "s3cr3t" not in output and len(output.strip().splitlines()) == 1
    (folder.folder / "loom-ops.toml").write_text("")
    assert "no chat under [telegram], or no person" in folder.run("telegram", code=2)
