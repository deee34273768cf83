"""Limits on connections: how many are open, and how long a client may be slow.

uvicorn closes an idle connection between two requests. It has no limit for a client that sends its
request byte by byte, that never sends one, or that does not read the response, and none for one
address. `limited_protocol` adds these to uvicorn's protocol for HTTP/1.1, at the level of bytes: an
application that does not read the body would not notice a slow one.

What a client owes is known from the state machine of h11: a head while its state is IDLE, the rest
of a body while it is SEND_BODY. Each has one deadline, which further bytes do not move.
"""

import asyncio
import ipaddress
import json
import socket
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["Limits", "limited_protocol"]

_LINGER_S: Final = 1.0
_MAX_LINGERING: Final = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a server.

    Args:
        connections: Open connections of all clients; one more gets 503.
        connections_per_client: Open connections of one address (IPv6: of one /64 network); one more
            gets 429.
        streams_per_token: Open event streams of one token; one more gets 429.
        head_s: Seconds to send the head of a request.
        body_s: Seconds to send the body.
        unread_s: Seconds in which a client must read some of a response that it has not read.
    """

    connections: int = 512
    connections_per_client: int = 64
    streams_per_token: int = 32
    head_s: float = 10.0
    body_s: float = 30.0
    unread_s: float = 60.0


def limited_protocol(limits: Limits) -> type[H11Protocol]:
    """Return a protocol class for one server, which counts its connections."""
    open_by_client: Counter[str] = Counter()
    lingering: set[Any] = set()

    class LimitedProtocol(H11Protocol):
        _client_key: str | None = None  # None for a connection that was refused
        _refusal: tuple[int, str] | None = None
        _owed: object = None
        _deadline: asyncio.TimerHandle | None = None
        _unread: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            stream = cast("asyncio.Transport", transport)
            peer = stream.get_extra_info("peername")
            key = _client_key(peer[0] if isinstance(peer, tuple) and peer else "")
            self._refusal = _refusal(open_by_client, key, limits)
            _limit_unread(stream, limits.unread_s)
            if self._refusal is None:
                super().connection_made(stream)
                self._client_key = key
                open_by_client[key] += 1
                self._watch()
                return
            self.transport = stream
            if len(lingering) >= _MAX_LINGERING:
                stream.abort()
                return
            lingering.add(self)  # until it has sent something: a reset could overtake the response
            self._deadline = self.loop.call_later(_LINGER_S, stream.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            lingering.discard(self)
            for timer in (self._deadline, self._unread):
                if timer is not None:
                    timer.cancel()
            if self._client_key is None:
                return
            open_by_client[self._client_key] -= 1
            if not open_by_client[self._client_key]:
                del open_by_client[self._client_key]
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._refusal is not None:
                self.transport.write(_response(*self._refusal))
                self.transport.close()
                return
            super().data_received(data)
            self._watch()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch()

        def pause_writing(self) -> None:
            super().pause_writing()
            if self._unread is None:
                self._unread = self.loop.call_later(limits.unread_s, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._unread is not None and not self.transport.is_closing():
                self._unread.cancel()
                self._unread = None

        def timeout_keep_alive_handler(self) -> None:
            super().timeout_keep_alive_handler()
            self._watch()

        def _watch(self) -> None:
            """Start the deadline of what the client owes now; keep the one that is running."""
            if self.transport.is_closing():  # what is not sent yet may be too little to pause the writing
                if self._unread is None:
                    self._unread = self.loop.call_later(limits.unread_s, self.transport.abort)
                return
            state = self.conn.their_state
            owed = state if state in (h11.IDLE, h11.SEND_BODY) else None
            if owed is self._owed:
                return
            self._owed = owed
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
            if owed is not None:
                seconds = limits.head_s if owed is h11.IDLE else limits.body_s
                self._deadline = self.loop.call_later(seconds, self._end_slow_request, seconds)

        def _end_slow_request(self, seconds: float) -> None:
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                text = f"cannot read the request: it did not arrive within {seconds:g} s."
                self.transport.write(_response(408, text))
            self.transport.close()
            self._watch()

    return LimitedProtocol


def _limit_unread(stream: asyncio.Transport, seconds: float) -> None:
    """Let the kernel, too, give up a client that reads nothing: it keeps up to some MB of what was
    written to a socket, also after it is closed (Linux; other systems have limits of their own).
    """
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    connection = stream.get_extra_info("socket")
    if option is not None and connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, option, round(seconds * 1000))


def _client_key(address: str) -> str:
    """Return what counts as one client."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def _refusal(open_by_client: Counter[str], key: str, limits: Limits) -> tuple[int, str] | None:
    if open_by_client[key] >= limits.connections_per_client:
        return 429, f"cannot connect: {limits.connections_per_client} connections of this client are open."
    if open_by_client.total() >= limits.connections:
        return 503, f"cannot connect: {limits.connections} connections are open. Try again later."
    return None


def _response(status: int, message: str) -> bytes:
    body = json.dumps({"error": {"type": "Refused", "message": message}})
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\nretry-after: 5\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return (head + body).encode("ascii")
