"""The HTTP interface of loom-ops in this process: requests without sockets, as ASGI messages."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.redteam.site import make_site

__all__ = ["SCOPES", "Answer", "Client", "served"]

SCOPES: Final[Mapping[str, list[str]]] = {
    "reader": ["read"],
    "alice": ["read", "run"],
    "bob": ["read", "run"],
    "judge": ["approve"],
    "root": ["admin"],
}
"""The names of the tokens (`tok-NAME`), and what each may do."""


@dataclass
class Answer:
    """A response; `chunks` grows while it is a stream."""

    status: int
    headers: dict[str, str]
    chunks: list[bytes]

    @property
    def text(self) -> str:
        return b"".join(self.chunks).decode("utf-8", "replace")

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Client:
    """Send requests to an ASGI application."""

    def __init__(self, app: Any, folder: Path) -> None:
        self._app = app
        self.folder = folder

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        for_s: float = 20.0,
        on_start: Callable[[Answer], None] | None = None,
    ) -> Answer:
        """Return the response, or what has arrived of it after `for_s`."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        given = {"host": "localhost", "content-length": str(len(data))}
        given |= {"content-type": "application/json"} if data else {}
        given |= {} if token is None else {"authorization": f"Bearer tok-{token}"}
        given |= {name.lower(): value for name, value in (headers or {}).items()}
        raw, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "root_path": "",
            "path": _decoded(raw),
            "raw_path": raw.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in given.items()],
            "client": ("127.0.0.1", 1),
            "server": ("localhost", 80),
        }
        answer = Answer(0, {}, [])
        has_sent = False

        async def receive() -> dict[str, Any]:
            nonlocal has_sent
            if has_sent:
                await asyncio.Event().wait()
            has_sent = True
            return {"type": "http.request", "body": data, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers |= {name.decode(): value.decode("latin-1") for name, value in message["headers"]}
                if on_start is not None:
                    on_start(answer)
            else:
                answer.chunks.append(message.get("body", b""))

        try:
            async with asyncio.timeout(for_s):
                await self._app(scope, receive, send)
        except TimeoutError:
            answer.chunks.append(b"(still open)")
        except Exception as exc:  # noqa: BLE001 - what a server would log as a traceback
            answer.status = answer.status or 500
            answer.chunks.append(f"(raised {type(exc).__name__}: {exc})".encode("utf-8", "replace"))
            answer.headers["raised"] = type(exc).__name__
        return answer

    async def start(self, run_id: str, token: str) -> Answer:
        """Start the runbook `fix`, and wait until it waits for approval."""
        body = {"run_id": run_id, "incident": "fixit", "runbook": "fix", "plan": "all"}
        answer = await self.ask("POST", "/v1/runs", body, token=token)
        if answer.status == 202:
            for _ in range(200):
                waiting = (await self.ask("GET", "/v1/approvals", token="root")).json["approvals"]
                if any(each["run_id"] == f"{run_id}:sub:executor" for each in waiting):
                    break
                await asyncio.sleep(0.02)
        return answer


@asynccontextmanager
async def served(folder: Path, **site: Any) -> AsyncIterator[Client]:
    """Serve a site of loom-ops with the tokens of `SCOPES`."""
    from loom_agents._serve.guard import Guard
    from loom_agents.serve import Tokens, build_app
    from loom_ops._interfaces.http import IncidentProduct
    from loom_ops._site import load_site
    from loom_runner import open_store

    os.environ["LOOM_OPS_ALLOW_SHELL"] = "1"
    make_site(folder, **site)
    file = folder / "tokens.toml"
    file.write_text("".join(_entry(name) for name in SCOPES))
    file.chmod(0o600)
    database = folder / "ops.sqlite"
    store = open_store(str(database))
    app = build_app(IncidentProduct(store, database, load_site(folder), "mock"), Tokens.of_file(file))
    try:
        async with app.router.lifespan_context(app):
            yield Client(Guard(app, ["localhost"]), folder)
    finally:
        store.close()


def _entry(name: str) -> str:
    digest = hashlib.sha256(f"tok-{name}".encode()).hexdigest()
    return f'[{name}]\nsha256 = "{digest}"\nscopes = {json.dumps(SCOPES[name])}\n'


def _decoded(path: str) -> str:
    from urllib.parse import unquote

    return unquote(path)
