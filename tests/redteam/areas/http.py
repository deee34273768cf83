"""A client of the server: scopes, owners, revoked tokens, other host names, other pages,
runbooks.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.redteam.area import Area
from tests.redteam.served import SCOPES, served

if TYPE_CHECKING:
    from tests.redteam.served import Answer, Client

AREA = Area(
    "http",
    hole="""
replace('loom_agents._serve.tokens', 'Caller.may', lambda caller, scope: True)
replace('loom_agents._serve.owners', 'Owners.require', lambda *words: None)
""",
)

REQUEST: Final = "/v1/runs/x:sub:executor/approvals/1"
ENDPOINTS: Final = [
    ("GET", "/metrics", None, "read"),
    ("GET", "/v1/session", None, "any"),
    ("POST", "/v1/session", None, "any"),
    ("GET", "/v1/runs", None, "read"),
    ("GET", "/v1/runs/x", None, "read"),
    ("GET", "/v1/runs/x/explain", None, "read"),
    ("GET", "/v1/runs/x/trace.html", None, "read"),
    ("GET", "/v1/runs/x/events", None, "read"),
    ("GET", "/v1/events", None, "read"),
    ("GET", "/v1/approvals", None, "read"),
    ("POST", "/v1/runs", {"incident": ""}, "run"),
    ("POST", "/v1/supervise", {"incident": ""}, "run"),
    ("POST", "/v1/runbook", {"runbook": "../x"}, "run"),
    ("POST", "/v1/runs/x/messages", {"message": "hi"}, "run"),
    ("POST", "/v1/runs/x/resume", None, "run"),
    ("POST", "/v1/runs/x/cancel", {"note": 3}, "run"),
    (
        "POST",
        REQUEST,
        {"decision": "approve", "arguments_hash": "0" * 64},
        "approve",
    ),
]
"""Each endpoint with the scope that it needs; the bodies are refused for another reason."""


@AREA.attempt("every endpoint with every token")
def _(folder: Path) -> str | None:
    async def attempt() -> str | None:
        async with served(folder) as client:
            await client.start("x", "root")
            for token in (None, "wrong", *SCOPES):
                for method, path, body, scope in ENDPOINTS:
                    answer = await client.ask(method, path, body, token=token, for_s=0.3 if "events" in path else 20)
                    refused = answer.status in (401, 403)
                    has = SCOPES.get(token or "", [])
                    may = bool(has) if scope == "any" else scope in has or "admin" in has
                    if may and scope == "run" and token != "root" and path.startswith("/v1/runs/x"):
                        may = False  # it is the run of root
                    if refused == may or answer.status in (0, 500):
                        return f"{token}: {method} {path}: {answer.status} {answer.text[:80]}"
                    if token in (None, "wrong") and answer.status != 401:
                        return f"{token}: {method} {path}: {answer.status}"
            for path in ("/", "/page.js", "/page.css", "/healthz"):
                page = await client.ask("GET", path)
                if page.status != 200 or "fixit" in page.text or "frame" not in str(page.headers):
                    return f"{path}: {page.status}"
        return None

    return asyncio.run(attempt())


@AREA.attempt("act on a run of somebody else")
def _(folder: Path) -> str | None:
    async def attempt() -> str | None:
        async with served(folder) as client:
            await client.start("x", "alice")
            start = {"run_id": "x", "incident": "fixit", "runbook": "fix", "plan": "all"}
            tries = [
                await client.ask("POST", f"/v1/runs/{run_id}/{verb}", {}, token="bob")
                for run_id in ("x", "x:sub:executor", "x:sub:verifier")
                for verb in ("resume", "cancel")
            ]
            tries += [
                await client.ask("POST", "/v1/runs/x/messages", {"message": "hi"}, token="bob"),
                await client.ask("POST", "/v1/runs", start, token="bob"),
                await client.ask("POST", "/v1/runs", start | {"incident": "other"}, token="bob"),
                await client.ask("POST", "/v1/supervise", start, token="bob"),
                await client.ask("POST", "/v1/runbook", {"run_id": "x", "runbook": "fix"}, token="bob"),
                await client.ask("POST", "/v1/runs", start, token="bob", headers={"idempotency-key": "x"}),
            ]
            for each in tries:
                if each.status != 403:
                    return f"{each.status} {each.text[:120]}"
            own = await client.ask("POST", "/v1/runs/x/cancel", {}, token="alice")
            if own.status != 200:
                return f"alice may not cancel her own run: {own.text}"
            _forget_owners(client)  # as a run that was started on the command line
            other = await client.ask("POST", "/v1/runs/x/resume", {}, token="alice")
            return None if other.status == 403 else f"a run of nobody: {other.status}"

    return asyncio.run(attempt())


@AREA.attempt("use a token, a session or a stream after the token was revoked or has expired")
def _(folder: Path) -> str | None:
    from loom_agents._serve.token_file import remove_token

    async def attempt() -> str | None:
        async with served(folder) as client:
            await client.start("x", "alice")
            cookies = {name: _cookie(await client.ask("POST", "/v1/session", token=name)) for name in ("reader", "bob")}
            streams = [
                asyncio.create_task(client.ask("GET", "/v1/events", token="reader", for_s=5)),
                asyncio.create_task(client.ask("GET", "/v1/runs/x/events", headers=cookies["bob"], for_s=5)),
            ]
            await asyncio.sleep(0.3)
            file = folder / "tokens.toml"
            remove_token(file, "reader")
            file.write_text(file.read_text().replace("[bob]\n", "[bob]\nexpires = 2020-01-01T00:00:00Z\n"))
            for name, cookie in cookies.items():
                for answer in (
                    await client.ask("GET", "/v1/runs", token=name),
                    await client.ask("GET", "/v1/runs", headers=cookie),
                    await client.ask("POST", "/v1/session", token=name),
                ):
                    if answer.status != 401:
                        return f"{name} is still let in: {answer.status}"
            began = time.monotonic()
            for stream in streams:
                answer = await stream
                if answer.status != 200 or "(still open)" in answer.text:
                    return f"a stream of a revoked token: {answer.status}, open for {time.monotonic() - began:.1f} s"
        return None

    return asyncio.run(attempt())


@AREA.attempt("another host name, another page, a session that renews itself")
def _(folder: Path) -> str | None:
    async def attempt() -> str | None:
        async with served(folder) as client:
            for host in (
                "evil.example",
                "localhost.evil.example",
                "",
                "[::2]",
                "evil.example:80@localhost",
                "localhost\t",
            ):
                answer = await client.ask("GET", "/v1/runs", token="root", headers={"host": host})
                if answer.status != 421 and host.strip() != "localhost":
                    return f"host {host!r}: {answer.status}"
            cookie = _cookie(await client.ask("POST", "/v1/session", token="root"))
            page = cookie | {"x-loom-page": "1"}
            for headers, wanted in [(cookie, 403), (cookie | {"origin": "https://evil.example"}, 403), (page, 404)]:
                answer = await client.ask("POST", "/v1/runs/none/resume", {}, headers=headers)
                if answer.status != wanted:
                    return f"{headers}: {answer.status} {answer.text}"
            for path in ("/v1/runs", "/v1/runbook", REQUEST, "/v1/runs/x/cancel", "/v1/runs/x/messages", "/v1/session"):
                answer = await client.ask("POST", path, {}, headers=cookie)
                if answer.status != 403:
                    return f"{path} of another page: {answer.status}"
            again = await client.ask("POST", "/v1/session", headers=page)
            if again.status != 403 or "set-cookie" in again.headers:
                return f"a session opened another one: {again.status}"
            empty = await client.ask("GET", "/v1/runs", headers=cookie | {"authorization": ""})
            return None if empty.status == 401 else f"an empty token: {empty.status}"

    return asyncio.run(attempt())


@AREA.attempt("start a runbook that the site does not offer")
def _(folder: Path) -> str | None:
    async def attempt() -> str | None:
        async with served(folder, settings='[serve]\nrunbooks = ["fix", "link"]\n') as client:
            text = (folder / "runbooks/fix.md").read_text()
            (folder / "other.md").write_text(text)
            (folder / "runbooks/link.md").symlink_to(folder / "other.md")
            (folder / "runbooks/hidden.md").write_text(text.replace("fixit", "hidden"))
            names = ["link", "hidden", "other.md", str(folder / "other.md"), "../other", "..", ".", "api-latency"]
            names += ["fix.md", "fix\x00", "runbooks/fix", "FIX", "fix ", "%66ix", "starter:disk-full.md"]
            bodies: list[dict[str, object]] = [{"incident": "fixit", "runbook": name} for name in names]
            bodies += [{"incident": "hidden"}, {"incident": "disk full"}]
            for body in bodies:
                for path in ("/v1/runs", "/v1/supervise", "/v1/runbook"):
                    answer = await client.ask("POST", path, body, token="root")
                    if answer.status != 400:
                        return f"{path} {body}: {answer.status} {answer.text[:100]}"
            return (
                None if (await client.start("x", "alice")).status == 202 else "the runbook that is offered was refused"
            )

    return asyncio.run(attempt())


@AREA.attempt("more event streams than one token may have")
def _(folder: Path) -> str | None:
    async def attempt() -> str | None:
        async with served(folder) as client:
            statuses: list[int] = []
            tasks = [
                asyncio.create_task(
                    client.ask(
                        "GET", "/v1/events", token="reader", for_s=1, on_start=lambda each: statuses.append(each.status)
                    )
                )
                for _ in range(40)
            ]
            await asyncio.wait(tasks)
            again = await client.ask("GET", "/v1/events", token="reader", for_s=0.3)
            counts = (statuses.count(200), statuses.count(429), again.status)
            return None if counts == (32, 8, 200) else f"open, refused, and one afterwards: {counts}"

    return asyncio.run(attempt())


def _cookie(answer: Answer) -> dict[str, str]:
    return {"cookie": answer.headers["set-cookie"].partition(";")[0]}


def _forget_owners(client: Client) -> None:
    from loom_runner.store import open_side_tables

    tables = open_side_tables(str(client.folder / "ops.sqlite"), "serve_owners", [""])
    with tables.transaction() as database:
        database.execute("DELETE FROM serve_owners")
    tables.close()
