"""Hostile bodies, ids and parameters: each is refused in one line, and every view stays
readable.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from tests.redteam.area import Area
from tests.redteam.served import served

if TYPE_CHECKING:
    from tests.redteam.served import Answer, Client

AREA = Area(
    "payloads",
    hole="""
import json
def parse(data):
    return json.loads(data)
replace('loom_agents._serve.bodies', 'parse_object', parse)
""",
)

MUST_REFUSE: Final[Mapping[str, bytes]] = {
    "bad JSON": b'{"incident": ',
    "deep arrays": b'{"incident": "fixit", "inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"inputs": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}",
    "nested just below the parser's limit": b'{"decision": "edit", "arguments": ' + b'{"a":' * 400 + b"1" + b"}" * 401,
    "a huge body": b'{"incident": "' + b"x" * 1_100_000 + b'"}',
    "a huge integer": b'{"incident": "fixit", "inputs": ' + b"9" * 100_000 + b"}",
    "an infinite number": b'{"incident": 1e999}',
    "NaN": b'{"decision": "edit", "arguments": {"timeout_s": NaN}}',
    "a key twice": b'{"incident": "fixit", "decision": "deny", "decision": "approve"}',
    "half of a surrogate pair": b'{"incident": "\\ud800", "note": "\\udfff", "message": "\\ud800"}',
    "bytes that are not UTF-8": b'{"incident": "\xff\xfe"}',
    "a byte order mark": b'\xef\xbb\xbf{"incident": "fixit"}',
    "an array": b'[{"incident": "fixit"}]',
    "a text": b'"incident"',
    "null": b"null",
    "nothing": b" ",
}
"""Bodies that no endpoint may accept."""

STRANGE: Final[list[dict[str, object]]] = [
    {"incident": "a\x00b\x1b[2J\u202e\u2028", "note": "\x00\x1b]0;x\x07", "message": "\u202e\x00"},
    {"incident": {"a": 1}, "runbook": [], "inputs": [], "decision": {}, "message": [], "note": {}, "run_id": {}},
    {"incident": "fixit", "inputs": {"svc": None}, "decision": "edit", "arguments": {"argv": {"a": [None]}}},
    {"incident": "fixit", "inputs": {"svc\x00": "api"}, "decision": "edit", "arguments": {}},
    {"run_id": "x" * 100_000, "incident": "fixit", "decision": "approve", "arguments_hash": ["x"]},
    {"run_id": "a\x00b", "incident": "fixit", "decision": "approve", "arguments_hash": "\x00"},
    {"run_id": "x:sub:executor", "incident": "fixit", "runbook": "fix", "decision": "deny", "note": "\u202e" * 1000},
    {"constructor": {}, "__proto__": {"polluted": True}, "__class__": "x"},
]
"""Well-formed bodies with members of the wrong type, or with text that is not shown."""

POSTS: Final = ("/v1/runs", "/v1/supervise", "/v1/runbook", "/v1/session") + tuple(
    f"/v1/runs/x:sub:executor/{verb}" for verb in ("messages", "resume", "approvals/1", "cancel")
)
IDS: Final = [
    "a\x00b",
    "\ufffd",
    "../../etc/passwd",
    "x/../x",
    "%",
    "a" * 5000,
    "\u202ex",
    "x:sub:",
    ":sub:",
    "#",
    "'\"--",
]


@AREA.attempt("bodies that are no JSON object within limits")
def _(folder: Path) -> str | None:
    async def attempt() -> str | None:
        async with served(folder) as client:
            await client.start("x", "root")
            for kind, body in MUST_REFUSE.items():
                for path in POSTS:
                    answer = await client.ask("POST", path, body, token="root")
                    ignores_its_body = path == "/v1/session"
                    wrong = _wrong(answer) or (
                        None if ignores_its_body or answer.status in (400, 413) else f"accepted: {answer.status}"
                    )
                    if wrong:
                        return f"{kind} at {path}: {wrong}"
            return await _unreadable_view(client)

    return asyncio.run(attempt())


@AREA.attempt("members of the wrong type, and text that is not shown")
def _(folder: Path) -> str | None:
    async def attempt() -> str | None:
        async with served(folder) as client:
            await client.start("x", "root")
            for body in STRANGE:
                for path in POSTS:
                    if path.endswith("cancel"):
                        continue
                    answer = await client.ask("POST", path, body, token="root")
                    if wrong := _wrong(answer):
                        return f"{str(body)[:80]} at {path}: {wrong}"
                if wrong := await _unreadable_view(client):
                    return f"after {str(body)[:80]}: {wrong}"
        return None

    return asyncio.run(attempt())


@AREA.attempt("ids, numbers and headers that name nothing")
def _(folder: Path) -> str | None:
    async def attempt() -> str | None:
        async with served(folder) as client:
            await client.start("x", "root")
            paths = [
                f"/v1/runs/{quote(each, safe='')}{view}" for each in IDS for view in ("", "/explain", "/trace.html")
            ]
            paths += [f"/v1/approvals?run_id={quote(each)}" for each in IDS]
            paths += [
                f"/v1/runs?limit={each}" for each in ("0", "-1", "9" * 5000, "1e3", "%00", "\u0661".encode().hex())
            ]
            paths += [
                "/v1/approvals?pending=maybe",
                "/v1/approvals?run_id=%ff%fe",
                "/v1/runs/x/approvals/1",
                "/v1/%2e%2e/",
            ]
            for path in paths:
                if wrong := _wrong(await client.ask("GET", path, token="root")):
                    return f"GET {path[:80]}: {wrong}"
            for number in ("9" * 30, "9" * 5000, "-1", "1.5", "x", "%00"):
                path = f"/v1/runs/x:sub:executor/approvals/{number}"
                if wrong := _wrong(await client.ask("POST", path, {"decision": "approve"}, token="root")):
                    return f"POST {path[:80]}: {wrong}"
            for name, value in [
                ("idempotency-key", "\xff\xfe"),
                ("idempotency-key", "x:sub:executor"),
                ("content-type", "text/plain"),
                ("content-type", "application/json; charset=utf-16"),
                ("content-length", "-1"),
                ("content-length", "9" * 5000),
                ("authorization", "Bearer \xff"),
                ("cookie", "loom_80=" + "x" * 100_000),
            ]:
                answer = await client.ask("POST", "/v1/runs", {"incident": ""}, token="root", headers={name: value})
                if wrong := _wrong(answer):
                    return f"{name}: {value[:30]!r}: {wrong}"
            for last in ("-1", "9" * 30, "x", "\xff", "1e3", "\u00b2"):
                answer = await client.ask("GET", "/v1/events", token="root", headers={"last-event-id": last}, for_s=0.2)
                if wrong := _wrong(answer):
                    return f"last-event-id {last!r}: {wrong}"
            return await _unreadable_view(client)

    return asyncio.run(attempt())


async def _unreadable_view(client: Client) -> str | None:
    """Return which view does not answer with what a client can read."""
    for path in ("/v1/runs", "/v1/approvals?pending=false", "/metrics"):
        answer = await client.ask("GET", path, token="root")
        if answer.status != 200 or _wrong(answer):
            return f"{path}: {answer.status} {answer.text[:100]}"
    for run in (await client.ask("GET", "/v1/runs", token="root")).json["runs"]:
        where = f"/v1/runs/{quote(run['run_id'], safe='')}"
        for view in ("", "/explain", "/trace.html", "/events"):
            answer = await client.ask("GET", where + view, token="root", for_s=0.05 if view == "/events" else 20)
            if answer.status != 200 or _wrong(answer):
                return f"{where}{view}: {answer.status} {answer.text[:100]}"
            if view in ("", "/explain"):
                json.loads(answer.text, parse_constant=lambda name: f"not JSON: {name}")
    return None


def _wrong(answer: Answer) -> str | None:
    """Return what is wrong with an answer: a failure of the server, or an error of many lines."""
    if answer.status in (0, 500) or "raised" in answer.headers:
        return f"{answer.status} {answer.text[:200]}"
    if "Traceback" in answer.text and answer.status != 200:
        return "a traceback"
    if answer.status >= 400:
        message = answer.json["error"]["message"]
        if not message.startswith("cannot ") or "\n" in message or len(message) > 1000 or not message.isprintable():
            return f"an error that is not one line of text: {message[:300]!r}"
    return None
