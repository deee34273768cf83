"""Listen for HTTP requests, authenticate them with tokens, and stop at SIGTERM or SIGINT.

On interfaces other than loopback a server needs a token file.
"""

import asyncio
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from loom_agents._errors import AgentError
from loom_agents._serve.connections import Limits, limited_protocol
from loom_agents._serve.guard import Guard
from loom_agents._serve.tokens import Tokens

__all__ = ["serve_app"]

_LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
_SHUTDOWN_S: Final = 2


async def serve_app(
    make_app: Callable[[Tokens], Any],
    *,
    host: str,
    port: int,
    token_file: Path | None,
    allowed_hosts: Sequence[str],
    limits: Limits,
    on_ready: Callable[[str, str | None], None],
) -> None:
    """Serve an ASGI application until SIGTERM or SIGINT.

    Args:
        make_app: Returns the application, which authenticates requests with the tokens.
        host: The interface to listen on.
        port: The port; 0 is any free one.
        token_file: The permissions (see `tokens`); without it, one token with every scope is
            generated.
        allowed_hosts: Further host names of this server.
        limits: How many connections may be open, and how slow a client may be.
        on_ready: Called once with the address and the generated token, when the server accepts
            requests.

    Raises:
        AgentError: The address cannot be used, or others can reach it and there is no token file.
    """
    import uvicorn

    token = None
    if token_file is not None:
        tokens = Tokens.of_file(token_file)
    elif not _is_local(host):
        raise AgentError(
            f"cannot serve on {host}: others can reach it, and there is no token file. Name one with"
            " --token-file, or serve on 127.0.0.1."
        )
    else:
        tokens, token = Tokens.generated("local")
    listener = _listener(host, port)
    hosts = {*_LOCAL_NAMES, *allowed_hosts, *([] if host in ("0.0.0.0", "::") else [_bracketed(host)])}  # noqa: S104
    config = uvicorn.Config(
        Guard(make_app(tokens), hosts),
        http=limited_protocol(limits),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_SHUTDOWN_S,
        lifespan="on",
        server_header=False,
        proxy_headers=False,
    )

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            on_ready(f"http://{_bracketed(host)}:{listener.getsockname()[1]}/", token)

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Handle signals in the event loop: uvicorn's handlers would cancel the work."""
            with _handling_signals(self.handle_exit):
                yield

    with listener:
        await Server(config).serve(sockets=[listener])


@contextmanager
def _handling_signals(handle: Callable[[int, None], None]) -> Iterator[None]:
    """Handle SIGTERM and SIGINT within the block, in the main thread only."""
    loop, handled = asyncio.get_running_loop(), []
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(ValueError, RuntimeError, NotImplementedError):
                loop.add_signal_handler(number, handle, number, None)
                handled.append(number)
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with ExitStack() as undo:
            listener = undo.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            undo.pop_all()
            return listener
    except (OSError, OverflowError) as exc:
        reason = (getattr(exc, "strerror", None) or str(exc)).lower()
        raise AgentError(f"cannot serve on {host}:{port}: {reason}. Choose another --host or --port.") from exc


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
