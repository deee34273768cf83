"""`loom-run serve`: chats over HTTP, and a page to watch them and to decide about tool calls."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from loom_runner.cli_base import ExitCode, run_async, write_error

from loom_run._cli.options import BareFlags, db_option, setup_change, setup_options
from loom_run._errors import LoomRunError, translate_agent_errors

__all__ = ["serve"]

DEFAULT_PORT = 8733


@click.command(cls=BareFlags)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="0 takes a free one."
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Tokens and their scopes (TOML); required when others can reach the server. Without it a token is generated.",
)
@click.option("--allow-host", multiple=True, metavar="NAME", help="A further host name that requests may use.")
@db_option
@setup_options
def serve(
    *, host: str, port: int, token_file: Path | None, allow_host: tuple[str, ...], db: str, **options: Any
) -> int:
    """Serve chats over HTTP, with a page.

    Start them, watch them live, decide about tool calls. The server drives the runs, not a client's connection.
    Ctrl-C or SIGTERM stops the server; unfinished runs are resumed by `loom-run resume`, or from the page of the next
    server.
    """
    try:
        from loom_agents.serve import serve as serve_product
    except ImportError as exc:
        raise LoomRunError(
            f"cannot serve: {exc.name!r} is not installed. Install it: pip install 'loom-run[serve]'."
        ) from exc
    from loom_run._chat.database import open_database
    from loom_run._config.trust import TrustPrompt
    from loom_run._serve.product import ServedChats

    def on_ready(address: str, token: str | None) -> None:
        write_error(f"loom-run serves {db} at {address}" + (f"#token={token}" if token else ""))
        write_error("Ctrl-C stops it; loom-run resume then resumes unfinished runs")

    with translate_agent_errors(), open_database(db) as store:
        change = setup_change(options)
        change.new_setup().build(database=Path(db))  # fails now when something is missing for a new chat
        served = ServedChats(store, replace(change.without_trust(), trust=TrustPrompt()))
        work = serve_product(
            served, host=host, port=port, token_file=token_file, allowed_hosts=allow_host, on_ready=on_ready
        )
        run_async(work)
        write_error("stopped")
    return ExitCode.DONE
