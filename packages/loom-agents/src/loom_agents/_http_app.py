"""The HTTP face of a product: runs, their events, approvals, and one page.

| request | scope | |
|---|---|---|
| `GET /` | | the page; it holds no data |
| `POST /v1/session` | any | a browser's cookie for the token in the header |
| `GET /v1/runs`, `GET /v1/runs/ID` | read | |
| `POST /v1/runs` | run | starts a run; 202. `Idempotency-Key` (or `run_id`) names it, so that it can be sent twice |
| a product's own (`doors`) | run | starts a run, too |
| `POST /v1/runs/ID/messages`, `/resume`, `/cancel` | run | |
| `GET /v1/runs/ID/events`, `GET /v1/events` | read | SSE; `Last-Event-ID` goes on exactly there |
| `GET /v1/runs/ID/explain`, `/trace.html` | read | |
| `GET /v1/approvals` | read | |
| `POST /v1/runs/ID/approvals/N` | approve | `decision` (approve, deny, edit), `note`, `arguments`, `arguments_hash` |
| `GET /healthz`, `GET /metrics` | -, read | |

A run is driven by the worker, never by a response: a client that goes away stops nothing.
"""

import asyncio
import hashlib
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import anyio
from fastapi import Body, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from loom_runner import (
    AgentRunner,
    Continue,
    EventLog,
    RunBusy,
    RunnerError,
    StoreError,
    UnknownRun,
    UsageError,
)
from sse_starlette import EventSourceResponse
from starlette.exceptions import HTTPException as HttpRefusal

from loom_agents._errors import AgentError, ModelError
from loom_agents._http_page import CONTENT_SECURITY_POLICY, page_html, page_script, page_style
from loom_agents._http_product import Product
from loom_agents._http_stream import Hub, event_stream
from loom_agents._http_tokens import Caller, Scope, Tokens
from loom_agents._http_view import EventViews
from loom_agents._http_worker import Worker

__all__ = ["build_app"]

_PAGE_HEADER: Final = "x-loom-page"
_PING_S: Final = 15
_HOW: Final = ("approve", "deny", "edit")


def build_app(product: Product, tokens: Tokens) -> FastAPI:
    """Build the application. It opens the event log when it starts, and stops the work when it ends.

    Args:
        product: what is served.
        tokens: who may do what.
    """
    face = _Face(product, tokens)
    app = FastAPI(title=product.name, version="1", docs_url=None, redoc_url=None, lifespan=face.lifespan)
    app.add_exception_handler(RunnerError, _told)
    app.add_exception_handler(AgentError, _told)
    app.add_exception_handler(HttpRefusal, _told)
    app.add_exception_handler(RequestValidationError, _told)
    face.add_to(app)
    return app


def cookie_name(request: Request) -> str:
    """Name the cookie of this server: browsers share cookies between the ports of a host."""
    return f"loom_{request.url.port or 0}"


class _Face:
    """Hold what the requests share."""

    def __init__(self, product: Product, tokens: Tokens) -> None:
        self.product = product
        self.tokens = tokens
        self.store = product.store
        self.reader = AgentRunner(step=_reads, store=self.store)
        self.views = EventViews(self.store, self.reader)
        self.log: EventLog
        self.hub: Hub
        self.worker: Worker

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Hold the log and the work for as long as the server lives."""
        del app
        self.log = EventLog(self.store.description)
        self.hub = Hub(self.log)
        self.worker = Worker(self.product, self.hub)
        watching = asyncio.create_task(self.hub.watch())
        try:
            yield
        finally:
            watching.cancel()
            await self.worker.stop()
            self.log.close()

    # ------------------------------------------------------------------ who asks

    async def _caller(self, request: Request) -> Caller:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind:
            caller = self.tokens.caller(token.strip()) if kind.lower() == "bearer" else None
        else:
            caller = self.tokens.of_session(request.cookies.get(cookie_name(request), ""))
            # A cookie travels with whatever a foreign page makes the browser send; this header does not.
            if caller is not None and request.method != "GET" and _PAGE_HEADER not in request.headers:
                raise HTTPException(403, f"cannot take this from a page: the header {_PAGE_HEADER} is missing.")
        if caller is None:
            advice = "Send the header `Authorization: Bearer TOKEN`, or open the address that the server printed."
            raise HTTPException(401, f"cannot tell who asks. {advice}", {"www-authenticate": "Bearer"})
        return caller

    def need(self, scope: Scope) -> Callable[[Request], Awaitable[Caller]]:
        """Build the check that a request's caller has a scope."""

        async def check(request: Request) -> Caller:
            caller = await self._caller(request)
            if not caller.may(scope):
                raise HTTPException(403, f"cannot do this: the token {caller.name!r} lacks the scope {scope!r}.")
            return caller

        return check

    # ------------------------------------------------------------------ the requests

    def add_to(self, app: FastAPI) -> None:
        """Register every route. Those of one run come before the run itself, whose id may hold slashes."""
        read, run, approve = (Depends(self.need(scope)) for scope in ("read", "run", "approve"))
        anyone = Depends(self._caller)
        app.get("/", response_class=HTMLResponse)(self._page)
        app.get("/page.js")(self._script)
        app.get("/page.css")(self._style)
        app.get("/healthz")(self._health)
        app.get("/metrics", dependencies=[read])(self._metrics)

        @app.post("/v1/session")
        async def session(request: Request, response: Response, caller: Annotated[Caller, anyone]) -> dict[str, Any]:
            secret = self.tokens.open_session(caller)
            response.set_cookie(cookie_name(request), secret, httponly=True, samesite="strict", path="/")
            return {"name": caller.name, "scopes": sorted(caller.scopes)}

        @app.get("/v1/session")
        async def who(caller: Annotated[Caller, anyone]) -> dict[str, Any]:
            about = {"product": self.product.name, "prompt": getattr(self.product, "prompt", "A message")}
            return {"name": caller.name, "scopes": sorted(caller.scopes), **about}

        app.get("/v1/runs", dependencies=[read])(self._list)
        app.post("/v1/runs", status_code=202, dependencies=[run])(self._start)
        for path, shaped in getattr(self.product, "doors", {}).items():
            app.post(path, status_code=202, dependencies=[run])(self._door(shaped))
        app.get("/v1/events", dependencies=[read])(self._all_events)
        app.get("/v1/approvals", dependencies=[read])(self._approvals)
        one = "/v1/runs/{run_id:path}"
        app.get(f"{one}/events", dependencies=[read])(self._events)
        app.get(f"{one}/explain", dependencies=[read])(self._explain)
        app.get(f"{one}/trace.html", dependencies=[read])(self._trace)
        app.post(f"{one}/messages", status_code=202, dependencies=[run])(self._say)
        app.post(f"{one}/resume", status_code=202, dependencies=[run])(self._resume)

        @app.post(f"{one}/cancel")
        async def cancel(
            run_id: str, caller: Annotated[Caller, run], body: Annotated[dict[str, Any] | None, Body()] = None
        ) -> dict[str, Any]:
            return await self._cancel(run_id, caller, body or {})

        @app.post(f"{one}/approvals/{{number}}")
        async def decide(
            run_id: str, number: int, caller: Annotated[Caller, approve], body: Annotated[dict[str, Any], Body()]
        ) -> dict[str, Any]:
            return await self._decide(run_id, number, caller, body)

        app.get(one, dependencies=[read])(self._show)

    async def _page(self) -> HTMLResponse:
        headers = {"content-security-policy": CONTENT_SECURITY_POLICY}
        return HTMLResponse(page_html(self.product.name), headers=headers)

    async def _script(self) -> Response:
        return Response(page_script(), media_type="text/javascript")

    async def _style(self) -> Response:
        return Response(page_style(), media_type="text/css")

    async def _health(self) -> dict[str, str]:
        self.log.last()
        return {"status": "ok"}

    async def _metrics(self) -> PlainTextResponse:
        stats = self.reader.stats()
        lines = ["# TYPE loom_runs gauge"]
        lines += [f'loom_runs{{status="{status}"}} {count}' for status, count in stats["runs"].items()]
        pending = len(self.reader.approvals(pending_only=True))
        gauges = {
            "loom_approvals_pending": pending,
            "loom_runs_active_here": self.worker.active,
            "loom_event_streams": self.hub.streams,
        }
        for name, value in gauges.items():
            lines += [f"# TYPE {name} gauge", f"{name} {value}"]
        lines += ["# TYPE loom_events_total counter", f"loom_events_total {self.log.last()}"]
        return PlainTextResponse("\n".join(lines) + "\n")

    async def _list(self, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> dict[str, Any]:
        seq = self.log.last()  # before the runs, so that a client who follows from here misses nothing
        parents = {record.run_id: record.parent_run_id for record in self.store.list_runs(limit=limit)}
        rows = [self._row(run, parents.get(run["run_id"])) for run in self.reader.list(limit=limit)]
        return {"seq": seq, "runs": rows}

    async def _show(self, run_id: str) -> dict[str, Any]:
        seq = self.log.last()
        run = self.reader.get(run_id)
        calls = [dict(call) for call in self.reader.tool_calls(run_id)]
        approvals = [_with_hash(row) for row in self.reader.approvals(run_id)]
        record = self.store.get_run(run_id)
        row = self._row(run, None if record is None else record.parent_run_id) | {
            "wait": run["wait"],
            "error": run["error"],
            "seq": seq,
        }
        return row | {"tool_calls": calls, "approvals": approvals, **self.product.shown(run)}

    def _row(self, run: Mapping[str, Any], parent_run_id: str | None) -> dict[str, Any]:
        kept = ("run_id", "status", "step_index", "created_at", "updated_at")
        facts = {name: run[name] for name in kept if name in run}
        return facts | {"parent_run_id": parent_run_id, **self.product.about(run)}

    async def _start(self, request: Request, body: Annotated[dict[str, Any], Body()]) -> JSONResponse:
        named = request.headers.get("idempotency-key") or body.pop("run_id", None)
        if named is not None and (not isinstance(named, str) or not named):
            raise HTTPException(400, "cannot start: `run_id` is not a text.")
        run_id = named or self.product.new_run_id()
        await self.worker.begin(run_id, lambda heard: self.product.start(run_id, body, heard))
        return _accepted(run_id)

    def _door(self, shaped: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[..., Awaitable[JSONResponse]]:
        """Build one more way to start a run, which shapes what came into a request for `start`."""

        async def door(request: Request, body: Annotated[dict[str, Any], Body()]) -> JSONResponse:
            return await self._start(request, shaped(body))

        return door

    async def _say(self, run_id: str, body: Annotated[dict[str, Any], Body()]) -> JSONResponse:
        message = body.get("message")
        if not isinstance(message, str) or not message.strip() or body.keys() != {"message"}:
            raise HTTPException(400, 'cannot send this: it is not {"message": "..."}.')
        self.reader.get(run_id)
        await self.worker.begin(run_id, lambda heard: self.product.say(run_id, message, heard))
        return _accepted(run_id)

    async def _resume(self, run_id: str) -> JSONResponse:
        self.reader.get(run_id)
        await self.worker.begin(run_id, lambda heard: self.product.resume(run_id, heard))
        return _accepted(run_id)

    async def _cancel(self, run_id: str, caller: Caller, body: Mapping[str, Any]) -> dict[str, Any]:
        note = body.get("note", "")
        if not isinstance(note, str):
            raise HTTPException(400, "cannot cancel: `note` is not a text.")
        cancelled = await self.reader.cancel(run_id=run_id, by=caller.name, note=note)
        for each in cancelled:
            self.worker.let_go(each)
        self.hub.wake()
        return {"cancelled": list(cancelled)}

    async def _approvals(self, run_id: str | None = None, *, pending: bool = True) -> dict[str, Any]:
        rows = self.reader.approvals(run_id, pending_only=pending)
        return {"approvals": [_with_hash(row) for row in rows]}

    async def _decide(self, run_id: str, number: int, caller: Caller, body: Mapping[str, Any]) -> dict[str, Any]:
        how, note, arguments = body.get("decision"), body.get("note", ""), body.get("arguments")
        if how not in _HOW or not isinstance(note, str) or (how == "edit") != isinstance(arguments, dict):
            shape = '{"decision": "approve" or "deny", "note": "..."}, or "edit" with an object `arguments`'
            raise HTTPException(400, f"cannot decide: this is not {shape}.")
        before = next((row for row in self.reader.approvals(run_id) if row["number"] == number), None)
        if before is None:
            raise HTTPException(404, f"cannot decide {run_id}#{number}: there is no such request.")
        if before["status"] != "pending":
            gone = before["status"] == "expired"
            raise HTTPException(410 if gone else 409, f"cannot decide {run_id}#{number}: it is {before['status']}.")
        if body.get("arguments_hash") not in (None, _with_hash(before)["arguments_hash"]):
            raise HTTPException(409, f"cannot decide {run_id}#{number}: its arguments are not those you saw.")
        objection = self.product.objection(before, caller, how)
        if objection is not None:
            raise HTTPException(403, f"cannot {how} {run_id}#{number}: {objection.rstrip('.')}.")
        decided = await self.reader.decide(
            run_id=run_id, number=number, how=how, by=caller.name, via="http", note=note, arguments=arguments
        )
        self.hub.wake()
        stopped = None if decided["status"] == "pending" else await self.worker.go_on(self._root(run_id))
        return {"approval": _with_hash(decided), "not_resumed": stopped}

    def _root(self, run_id: str) -> str:
        """Name the run that drives this one: a child is driven by its parent."""
        record = self.store.get_run(run_id)
        while record is not None and record.parent_run_id is not None:
            run_id = record.parent_run_id
            record = self.store.get_run(run_id)
        return run_id

    async def _explain(self, run_id: str) -> dict[str, Any]:
        story = self.reader.explain_run(run_id)
        return {**story.data, "text": str(story)}

    async def _trace(self, run_id: str) -> HTMLResponse:
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder) / "trace.html"
            await asyncio.to_thread(self.reader.write_trace, run_id, page)
            return HTMLResponse(page.read_text())

    async def _events(self, run_id: str, request: Request, after: str | None = None) -> EventSourceResponse:
        self.reader.get(run_id)
        return self._stream(run_id, request, after)

    async def _all_events(self, request: Request, after: str | None = None) -> EventSourceResponse:
        return self._stream(None, request, after)

    def _stream(self, run_id: str | None, request: Request, after: str | None) -> EventSourceResponse:
        given = request.headers.get("last-event-id", after) or "0"
        seq = int(given) if given.isascii() and given.isdigit() and len(given) < 19 else -1
        lost = not 0 <= seq <= self.log.last()
        leaving = anyio.Event()
        events = event_stream(
            self.log, self.hub, self.views, run_id=run_id, after=0 if lost else seq, lost=lost, leaving=leaving
        )
        return EventSourceResponse(
            events,
            ping=_PING_S,
            headers={"x-accel-buffering": "no"},
            shutdown_event=leaving,
            shutdown_grace_period=1,
        )


async def _reads(state: Any) -> Continue[Any]:
    return Continue(state)


def _accepted(run_id: str) -> JSONResponse:
    where = f"/v1/runs/{quote(run_id, safe='')}"
    return JSONResponse({"run_id": run_id, "events": f"{where}/events"}, 202, {"location": where})


def _with_hash(row: Mapping[str, Any]) -> dict[str, Any]:
    """Give a request with a hash of its arguments, to be sent back with the decision about exactly these."""
    text = json.dumps(row["arguments"], sort_keys=True, ensure_ascii=False)
    return {**row, "arguments_hash": hashlib.sha256(text.encode()).hexdigest()[:32]}


async def _told(request: Request, exc: Exception) -> JSONResponse:
    """Answer a refusal in one shape: {"error": {"type", "message"}}."""
    del request
    if isinstance(exc, HttpRefusal):
        said = str(exc.detail)
        text = said if said.startswith("cannot ") else f"cannot answer: {said.lower()}."
        return _error(exc.status_code, "Refused", text, exc.headers)
    if isinstance(exc, RequestValidationError):
        wrong = exc.errors()[0]
        where = ".".join(map(str, wrong["loc"]))
        return _error(400, "Refused", f"cannot read the request: {where}: {wrong['msg'].lower()}.")
    return _error(_status_of(exc), type(exc).__name__, " ".join(str(exc).split()))


def _error(status: int, kind: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": {"type": kind, "message": message}}, status, headers)


def _status_of(exc: Exception) -> int:
    name = type(exc).__name__
    if isinstance(exc, UnknownRun) or name in ("UnknownApproval", "UnknownToolCall"):
        return 404
    if isinstance(exc, RunBusy) or name in ("RunExists", "IllegalMove", "LeaseLost"):
        return 409
    if isinstance(exc, ModelError):
        return 502
    if isinstance(exc, StoreError):
        return 503
    return 400 if isinstance(exc, UsageError | AgentError | RunnerError) else 500
