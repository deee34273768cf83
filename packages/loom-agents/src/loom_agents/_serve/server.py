"""Run the server. On interfaces other than loopback it needs a token file."""

from collections.abc import Callable, Sequence
from pathlib import Path

from loom_agents._serve.app import build_app
from loom_agents._serve.connections import Limits
from loom_agents._serve.listen import serve_app
from loom_agents._serve.product import Product

__all__ = ["serve"]


async def serve(
    product: Product,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token_file: Path | None = None,
    allowed_hosts: Sequence[str] = (),
    limits: Limits | None = None,
    on_ready: Callable[[str, str | None], None],
) -> None:
    """Serve until SIGTERM or SIGINT.

    Open streams then end at once. A step in progress is not committed; `resume` runs it again.

    Args:
        product: The product to serve.
        host: The interface to listen on.
        port: The port; 0 is any free one.
        token_file: The permissions (see `tokens`); without it, one token with every scope is
            generated.
        allowed_hosts: Further host names of this server.
        limits: How many connections and streams may be open, and how slow a client may be.
        on_ready: Called once with the address and the generated token, when the server accepts
            requests.

    Raises:
        AgentError: The address cannot be used, or others can reach it and there is no token file.
    """
    limits = limits or Limits()
    await serve_app(
        lambda tokens: build_app(product, tokens, streams_per_token=limits.streams_per_token),
        host=host,
        port=port,
        token_file=token_file,
        allowed_hosts=allowed_hosts,
        limits=limits,
        on_ready=on_ready,
    )
