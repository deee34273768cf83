"""The HTTP interface of a product: runs, their events, approvals, and one page.

| request | scope | |
|---|---|---|
| `GET /` | | the page; it contains no data |
| `POST /v1/session` | any | a browser's cookie for the token in the header |
| `GET /v1/runs`, `GET /v1/runs/ID` | read | |
| `POST /v1/runs` | run | starts a run; 202. `Idempotency-Key` (or `run_id`) names it, so that it can be sent twice |
| a product's own (`start_routes`) | run | starts a run, too |
| `POST /v1/runs/ID/messages`, `/resume`, `/cancel` | run | |
| `GET /v1/runs/ID/events`, `GET /v1/events` | read | SSE; continues exactly after `Last-Event-ID` |
| `GET /v1/runs/ID/explain`, `/trace.html` | read | |
| `GET /v1/approvals` | read | |
| `POST /v1/runs/ID/approvals/N` | approve | `decision` (approve, deny, edit), `note`, `arguments`, `arguments_hash` |
| `GET /healthz`, `GET /metrics` | -, read | |

A run is driven by the worker, never by a response: a client that disconnects stops nothing.
"""

import asyncio
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
from loom_runner import EventLog, LocalEngine, RunBusy, RunnerError, StoreError, UnknownRun, UsageError
from loom_runner.errors import IllegalMove, LeaseLost, RunExists, UnknownApproval, UnknownToolCall
from loom_runner.run_ids import ancestor_run_ids, child_name
from prometheus_client import CONTENT_TYPE_LATEST
from sse_starlette import EventSourceResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from loom_agents._errors import AgentError, ModelError, NotPermittedError
from loom_agents._serve.event_view import EventViews
from loom_agents._serve.metrics import metrics_text
from loom_agents._serve.page import CONTENT_SECURITY_POLICY, page_html, page_script, page_style
from loom_agents._serve.product import Decision, Product
from loom_agents._serve.stream import Hub, event_stream
from loom_agents._serve.tokens import Caller, Scope, Tokens
from loom_agents._serve.worker import Worker

__all__ = ["build_app"]

_PAGE_HEADER: Final = "x-loom-page"
_PING_S: Final = 15
_DECISIONS: Final = ("approve", "deny", "edit")


def build_app(product: Product, tokens: Tokens) -> FastAPI:
    """Build the application. It opens the event log when it starts, and stops its work when it
    stops.

    Args:
        product: What is served.
        tokens: Who may do what.
    """
    routes = _Routes(product, tokens)
    app = FastAPI(title=product.name, version="1", docs_url=None, redoc_url=None, lifespan=routes.lifespan)
    for error in (RunnerError, AgentError, StarletteHTTPException, RequestValidationError):
        app.add_exception_handler(error, _error_response)
    routes.add_to(app)
    return app


def cookie_name(request: Request) -> str:
    """Return the name of this server's cookie: browsers share cookies between the ports of a
    host.
    """
    return f"loom_{request.url.port or 0}"


class _Routes:
    """Answer the requests."""

    def __init__(self, product: Product, tokens: Tokens) -> None:
        self.product = product
        self.tokens = tokens
        self.store = product.store
        self.engine = LocalEngine(self.store)
        self.runs = self.engine.runs
        self.views = EventViews(self.runs)
        self.log: EventLog
        self.hub: Hub
        self.worker: Worker

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Open the log and start the worker; stop them with the server."""
        del app
        self.log = EventLog(self.store.address)
        self.hub = Hub(self.log)
        self.worker = Worker(self.product, self.hub)
        watching = asyncio.create_task(self.hub.watch())
        try:
            yield
        finally:
            watching.cancel()
            await self.worker.stop()
            self.log.close()

    # ------------------------------------------------------------------ authentication

    async def _caller(self, request: Request) -> Caller:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind:
            caller = self.tokens.caller(token.strip()) if kind.lower() == "bearer" else None
        else:
            caller = self.tokens.of_session(request.cookies.get(cookie_name(request), ""))
            # A browser adds the cookie to requests of other sites' pages, too, but not this header.
            if caller is not None and request.method != "GET" and _PAGE_HEADER not in request.headers:
                raise HTTPException(403, f"cannot take this from a page: the header {_PAGE_HEADER} is missing.")
        if caller is None:
            advice = "Send the header `Authorization: Bearer TOKEN`, or open the address that the server printed."
            raise HTTPException(401, f"cannot authenticate the request. {advice}", {"www-authenticate": "Bearer"})
        return caller

    def require(self, scope: Scope) -> Callable[[Request], Awaitable[Caller]]:
        """Return a dependency that requires a scope."""

        async def check(request: Request) -> Caller:
            caller = await self._caller(request)
            if not caller.may(scope):
                raise HTTPException(403, f"cannot do this: the token {caller.name!r} lacks the scope {scope!r}.")
            return caller

        return check

    # ------------------------------------------------------------------ the requests

    def add_to(self, app: FastAPI) -> None:
        """Register every route. Those below a run come before the run itself, whose id may contain
        slashes.
        """
        read, run, approve = (Depends(self.require(scope)) for scope in ("read", "run", "approve"))
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
        starts = {"/v1/runs": lambda body: body, **getattr(self.product, "start_routes", {})}
        for path, to_start_request in starts.items():
            app.post(path, status_code=202)(self._start_route(to_start_request, run))
        app.get("/v1/events", dependencies=[read])(self._all_events)
        app.get("/v1/approvals", dependencies=[read])(self._approvals)
        one = "/v1/runs/{run_id:path}"
        app.get(f"{one}/events", dependencies=[read])(self._events)
        app.get(f"{one}/explain", dependencies=[read])(self._explain)
        app.get(f"{one}/trace.html", dependencies=[read])(self._trace)
        app.post(f"{one}/messages", status_code=202, dependencies=[run])(self._send_message)
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

    async def _metrics(self) -> Response:
        text = metrics_text(self.runs, self.log, self.hub, self.worker)
        return PlainTextResponse(text, media_type=CONTENT_TYPE_LATEST)

    async def _list(self, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> dict[str, Any]:
        seq = self.log.last()  # before the runs, so that a client that follows from here misses nothing
        return {"seq": seq, "runs": [self._row(run) for run in self.runs.list(limit=limit)]}

    async def _show(self, run_id: str) -> dict[str, Any]:
        seq = self.log.last()
        run = self.runs.get(run_id)
        calls = [dict(call) for call in self.runs.tool_calls(run_id)]
        approvals = [_request_row(row) for row in self.runs.approvals(run_id)]
        row = self._row(run) | {"wait": run["wait"], "error": run["error"], "seq": seq}
        return row | {"tool_calls": calls, "approvals": approvals, **self.product.details(run)}

    def _row(self, run: Mapping[str, Any]) -> dict[str, Any]:
        names = ("run_id", "status", "step_index", "created_at", "updated_at", "parent_run_id")
        return {name: run[name] for name in names} | {"name": child_name(run["run_id"])} | self.product.summary(run)

    async def _start(self, request: Request, body: dict[str, Any], caller: Caller) -> JSONResponse:
        named = request.headers.get("idempotency-key") or body.pop("run_id", None)
        if named is not None and (not isinstance(named, str) or not named):
            raise HTTPException(400, "cannot start: `run_id` is not a text.")
        run_id = named or self.product.new_run_id()
        await self.worker.begin(run_id, lambda observer: self.product.start(run_id, body, observer, caller))
        return _accepted(run_id)

    def _start_route(
        self, to_start_request: Callable[[dict[str, Any]], dict[str, Any]], run: Any
    ) -> Callable[..., Any]:
        """Build a route that starts a run."""

        async def start(
            request: Request, caller: Annotated[Caller, run], body: Annotated[dict[str, Any], Body()]
        ) -> JSONResponse:
            return await self._start(request, to_start_request(body), caller)

        return start

    async def _send_message(self, run_id: str, body: Annotated[dict[str, Any], Body()]) -> JSONResponse:
        message = body.get("message")
        if not isinstance(message, str) or not message.strip() or body.keys() != {"message"}:
            raise HTTPException(400, 'cannot send this: it is not {"message": "..."}.')
        self.runs.get(run_id)
        await self.worker.begin(run_id, lambda observer: self.product.send_message(run_id, message, observer))
        return _accepted(run_id)

    async def _resume(self, run_id: str) -> JSONResponse:
        self.runs.get(run_id)
        await self.worker.begin(run_id, lambda observer: self.product.resume(run_id, observer))
        return _accepted(run_id)

    async def _cancel(self, run_id: str, caller: Caller, body: Mapping[str, Any]) -> dict[str, Any]:
        note = body.get("note", "")
        if not isinstance(note, str):
            raise HTTPException(400, "cannot cancel: `note` is not a text.")
        cancelled = await self.engine.cancel(run_id=run_id, by=caller.name, note=note)
        for each in cancelled:
            self.worker.stop_driving(each)
        self.hub.wake()
        return {"cancelled": list(cancelled)}

    async def _approvals(self, run_id: str | None = None, *, pending: bool = True) -> dict[str, Any]:
        rows = self.runs.approvals(run_id, pending_only=pending)
        return {"approvals": [_request_row(row) for row in rows]}

    async def _decide(self, run_id: str, number: int, caller: Caller, body: Mapping[str, Any]) -> dict[str, Any]:
        kind, note, arguments = body.get("decision"), body.get("note", ""), body.get("arguments")
        if kind not in _DECISIONS or not isinstance(note, str) or (kind == "edit") != isinstance(arguments, dict):
            shape = '{"decision": "approve" or "deny", "note": "..."}, or "edit" with an object `arguments`'
            raise HTTPException(400, f"cannot decide: this is not {shape}.")
        request = next((row for row in self.runs.approvals(run_id) if row["number"] == number), None)
        if request is None:
            raise HTTPException(404, f"cannot decide {run_id}#{number}: there is no such request.")
        if request["status"] != "pending":
            code = 410 if request["status"] == "expired" else 409
            raise HTTPException(code, f"cannot decide {run_id}#{number}: it is {request['status']}.")
        shown = body.get("arguments_hash")
        if shown != request["final_hash"] and (shown is not None or request["edited_arguments"] is not None):
            edited = "" if request["edited_arguments"] is None else " It was edited since it was requested."
            raise HTTPException(
                409, f"cannot decide {run_id}#{number}: its arguments are not those you saw.{edited} Look at it again."
            )
        decided = await self.product.decide(request, Decision(kind, note, arguments), caller)
        self.hub.wake()
        stopped = None if decided["status"] == "pending" else await self.worker.resume(self._root(run_id))
        return {"approval": _request_row(decided), "not_resumed": stopped}

    def _root(self, run_id: str) -> str:
        """Return the run that drives this one: the topmost of its parents."""
        while (parent := self.runs.get(run_id)["parent_run_id"]) is not None:
            run_id = parent
        return run_id

    async def _explain(self, run_id: str) -> dict[str, Any]:
        explanation = self.runs.explain(run_id)
        return {**explanation.data, "text": str(explanation)}

    async def _trace(self, run_id: str) -> HTMLResponse:
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder) / "trace.html"
            await asyncio.to_thread(self.runs.write_trace, run_id, page)
            return HTMLResponse(page.read_text())

    async def _events(self, run_id: str, request: Request, after: str | None = None) -> EventSourceResponse:
        self.runs.get(run_id)
        return self._stream(run_id, request, after)

    async def _all_events(self, request: Request, after: str | None = None) -> EventSourceResponse:
        return self._stream(None, request, after)

    def _stream(self, run_id: str | None, request: Request, after: str | None) -> EventSourceResponse:
        given = request.headers.get("last-event-id", after) or "0"
        seq = int(given) if given.isascii() and given.isdigit() and len(given) < 19 else -1
        is_unknown = not 0 <= seq <= self.log.last()
        stopping = anyio.Event()
        events = event_stream(
            self.log,
            self.hub,
            self.views,
            run_id=run_id,
            after=0 if is_unknown else seq,
            is_unknown=is_unknown,
            stopping=stopping,
        )
        return EventSourceResponse(
            events,
            ping=_PING_S,
            headers={"x-accel-buffering": "no"},
            shutdown_event=stopping,
            shutdown_grace_period=1,
        )


def _accepted(run_id: str) -> JSONResponse:
    where = f"/v1/runs/{quote(run_id, safe='')}"
    return JSONResponse({"run_id": run_id, "events": f"{where}/events"}, 202, {"location": where})


def _request_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Add to a request what a client needs: the name of its run and the ids of the runs above that,
    and the hash of what an approval allows now, which the client sends back with a decision about
    exactly this.
    """
    return {
        **row,
        "name": child_name(row["run_id"]),
        "ancestors": ancestor_run_ids(row["run_id"]),
        "arguments_hash": row["final_hash"],
    }


async def _error_response(request: Request, exc: Exception) -> JSONResponse:
    """Return every error in one shape: {"error": {"type", "message"}}."""
    del request
    if isinstance(exc, StarletteHTTPException):
        detail = str(exc.detail)
        text = detail if detail.startswith("cannot ") else f"cannot answer: {detail.lower()}."
        return _error(exc.status_code, "Refused", text, exc.headers)
    if isinstance(exc, RequestValidationError):
        first = exc.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return _error(400, "Refused", f"cannot read the request: {where}: {first['msg'].lower()}.")
    if isinstance(exc, NotPermittedError):
        return _error(403, "Refused", " ".join(str(exc).split()))
    return _error(_status_of(exc), type(exc).__name__, " ".join(str(exc).split()))


def _error(status: int, kind: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": {"type": kind, "message": message}}, status, headers)


def _status_of(exc: Exception) -> int:
    match exc:
        case UnknownRun() | UnknownApproval() | UnknownToolCall():
            return 404
        case RunBusy() | RunExists() | IllegalMove() | LeaseLost():
            return 409
        case ModelError():
            return 502
        case StoreError():
            return 503
        case UsageError() | AgentError() | RunnerError():
            return 400
    return 500
