"""Check the host name and the size of every request, and add security headers to the responses.

The check of the host name prevents DNS rebinding: a web page that reaches a server on this machine
by a name of the attacker that resolves to 127.0.0.1. It is plain ASGI, because a middleware that
reads responses would delay streams.
"""

import json
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, TypeAlias

from starlette.exceptions import HTTPException

__all__ = ["MAX_BODY_BYTES", "Guard"]

Message: TypeAlias = MutableMapping[str, Any]
App: TypeAlias = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

MAX_BODY_BYTES: Final = 1_000_000
_TOO_LONG: Final = f"cannot read the body: it has more than {MAX_BODY_BYTES} bytes."
_HEADERS: Final = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


class Guard:
    """Forward requests that are addressed to this server and are not too large.

    Args:
        app: The application that gets the requests.
        hosts: The host names of the server, without ports.
    """

    def __init__(self, app: App, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts}

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if host_name(host) not in self._hosts:
            await _refuse(send, 421, f"cannot answer: {host!r} is not a name of this server.")
            return
        length = headers.get(b"content-length", "0")
        if not re.fullmatch(r"[0-9]{1,12}", length) or int(length) > MAX_BODY_BYTES:
            await _refuse(send, 413, _TOO_LONG)
            return
        read, refused = 0, False

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > MAX_BODY_BYTES:
                raise HTTPException(413, _TOO_LONG)  # `safe` replaces the response of the application
            return message

        async def safe(message: Message) -> None:
            nonlocal refused
            if read > MAX_BODY_BYTES:
                if not refused:
                    refused = True
                    await _refuse(send, 413, _TOO_LONG)
                return
            if message["type"] == "http.response.start":
                have = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in _HEADERS if pair[0] not in have)]
            await send(message)

        await self._app(scope, counted, safe)


def host_name(host: str) -> str:
    """Return the name in a `Host` header, without its port."""
    name = host.strip().lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0]


async def _refuse(send: Callable[[Message], Awaitable[None]], status: int, message: str) -> None:
    body = json.dumps({"error": {"type": "Refused", "message": message}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
