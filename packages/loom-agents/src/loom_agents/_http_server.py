"""Listen: on this machine with a token made up on the spot, anywhere else only with tokens of a file."""

import asyncio
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from loom_agents._errors import AgentError
from loom_agents._http_app import build_app
from loom_agents._http_guard import Guard
from loom_agents._http_product import Product
from loom_agents._http_tokens import Tokens

__all__ = ["serve"]

_LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
_LEAVE_S: Final = 2


async def serve(
    product: Product,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token_file: Path | None = None,
    allowed_hosts: Sequence[str] = (),
    told: Callable[[str, str | None], None],
) -> None:
    """Serve until SIGTERM or SIGINT.

    Open streams end at once then, and work is stopped before its step is committed; `resume` goes on with it.

    Args:
        product: what is served.
        host: where to listen.
        port: which port; 0 takes a free one.
        token_file: who may do what (see `_http_tokens`); without it one token that may do everything is made.
        allowed_hosts: further names that the server is called by.
        told: called once with the address and the made-up token, when requests are taken.

    Raises:
        AgentError: the place cannot be listened on, or is open to others and there is no file of tokens.
    """
    import uvicorn

    token = None
    if token_file is not None:
        tokens = Tokens.of_file(token_file)
    elif not _is_local(host):
        raise AgentError(
            f"cannot serve on {host}: others can reach it and nobody would be asked for a token. Name a file"
            " of tokens with --token-file, or serve on 127.0.0.1."
        )
    else:
        tokens, token = Tokens.generated("local")
    listening = _listening(host, port)
    hosts = {*_LOCAL_NAMES, *allowed_hosts, *([] if host in ("0.0.0.0", "::") else [_bracketed(host)])}  # noqa: S104
    config = uvicorn.Config(
        Guard(build_app(product, tokens), hosts),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_LEAVE_S,
        lifespan="on",
        server_header=False,
    )

    class Telling(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            told(f"http://{_bracketed(host)}:{listening.getsockname()[1]}/", token)

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Take signals from the loop: its handlers run beside those that uvicorn would set, and cancel the work."""
            with _taken(self.handle_exit):
                yield

    with listening:
        await Telling(config).serve(sockets=[listening])


@contextmanager
def _taken(handle: Callable[[int, None], None]) -> Iterator[None]:
    """Take SIGTERM and SIGINT in the block; in a thread that gets none, nothing is taken."""
    loop, taken = asyncio.get_running_loop(), []
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(ValueError, RuntimeError, NotImplementedError):
                loop.add_signal_handler(number, handle, number, None)
                taken.append(number)
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with ExitStack() as undo:
            made = undo.enter_context(socket.socket(family, kind, protocol))
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
            undo.pop_all()
            return made
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
