"""Record every request of an ASGI application (Starlette, FastAPI, Quart, ...) as one capture.

    from flow_xray import TraceStore
    from flow_xray.asgi import TraceMiddleware

    app = TraceMiddleware(app, TraceStore("traces", max_count=1_000))

A capture stays open until the application has sent the last byte, so a streamed response is
recorded to its end, including the calls made while it was streamed. A `traceparent` header makes
the request a child of the client's span. A client that disconnects is recorded as a tag; an
exception is recorded and raised again; a status of 500 or more is an error. Bodies and headers are
not recorded. WebSockets and the lifespan are passed through. When the store cannot be written to,
one warning is emitted, and requests are served without being recorded.
"""

import warnings
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeAlias

from flow_xray._captures.store import TraceStore
from flow_xray._data.span import Span
from flow_xray._errors import TraceOutputError
from flow_xray._record.session import Session
from flow_xray._record.trace import trace

if TYPE_CHECKING:
    import os

__all__ = ["TraceMiddleware"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_SERVER_ERROR = 500


class TraceMiddleware:
    """Wrap an ASGI application.

    Args:
        app: The application.
        store: The store of the captures; a folder is used as a store without limits.
        skip: Returns whether a request, given its scope, is not recorded (health checks).
    """

    def __init__(
        self,
        app: App,
        store: "TraceStore | str | os.PathLike[str]",
        *,
        skip: Callable[[Scope], bool] | None = None,
    ) -> None:
        self.app = app
        self.store = store if isinstance(store, TraceStore) else TraceStore(store)
        self._skip = skip
        self._is_warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or (self._skip is not None and self._skip(scope)):
            await self.app(scope, receive, send)
            return
        name = f"{scope.get('method', 'GET')} {scope.get('path', '/')}"
        with ExitStack() as stack:
            session = None
            try:
                session = stack.enter_context(self.store.capture(name=name, caller=_traceparent_of(scope)))
            except TraceOutputError as error:
                self._warn(error)
            if session is None:
                await self.app(scope, receive, send)
            else:
                await self._recorded(name, session, scope, receive, send)

    async def _recorded(self, name: str, session: Session, scope: Scope, receive: Receive, send: Send) -> None:
        query = scope.get("query_string", b"").decode("latin-1")
        given = {"method": scope.get("method"), "path": scope.get("path"), **({"query": query} if query else {})}
        with trace.span(name, kind="request", input=given) as span:
            response = _Response(session, span)

            async def receive_seen() -> Message:
                message = await receive()
                if message["type"] == "http.disconnect":
                    response.client_left()
                return message

            async def send_seen(message: Message) -> None:
                try:
                    await send(message)
                except OSError:
                    response.client_left()
                    raise
                response.sent(message)

            await self.app(scope, receive_seen, send_seen)
            response.finish()

    def _warn(self, error: TraceOutputError) -> None:
        if not self._is_warned:
            self._is_warned = True
            warnings.warn(f"flow-xray: requests are not recorded: {error}", RuntimeWarning, stacklevel=3)


def _traceparent_of(scope: Scope) -> str | None:
    """Return the traceparent header, which joins the journals of client and server."""
    found = next((value for key, value in scope.get("headers", ()) if key == b"traceparent"), None)
    return None if found is None else found.decode("latin-1")


class _Response:
    """What is known about the response to one request."""

    def __init__(self, session: Session, span: Span) -> None:
        self._session = session
        self._span = span
        self._status: int | None = None
        self._size = 0
        self._is_complete = False
        self._has_left = False

    def sent(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message.get("status")
            self._session.add_meta(self._span, {"http_status": self._status})
            self._session.add_meta(None, {"http_status": self._status})
        elif message["type"] == "http.response.body":
            if self._size == 0 and message.get("body"):
                self._session.add_meta(self._span, {"time_to_first_byte_ms": self._elapsed_ms()})
            self._size += len(message.get("body", b""))
            if not message.get("more_body", False) and not self._is_complete:
                self._is_complete = True
                self._session.add_meta(
                    self._span, {"size_bytes": self._size, "time_to_last_byte_ms": self._elapsed_ms()}
                )

    def client_left(self) -> None:
        """Record that the client has disconnected; after a complete response that is expected."""
        if not self._is_complete and not self._has_left:
            self._has_left = True
            self._session.add_tag(self._span, "client disconnected", {"sent_bytes": self._size})
            self._session.add_meta(None, {"client_disconnected": True})

    def finish(self) -> None:
        """Record an error for a missing response, and for a status of 500 or more."""
        if self._status is None and not self._has_left:
            self._fail("no response", "the application sent none")
        elif self._status is not None and self._status >= _SERVER_ERROR:
            self._fail(f"HTTP {self._status}", f"the status was {self._status}")

    def _fail(self, kind: str, message: str) -> None:
        self._span.error = {"type": kind, "message": message, "traceback": ""}

    def _elapsed_ms(self) -> float:
        return round((self._session.now_ns() - self._span.started_at_ns) / 1e6, 3)
