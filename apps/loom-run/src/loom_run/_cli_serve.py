"""`loom-run serve`: chats over HTTP, and a page to watch and decide."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from loom_runner.cli_base import ExitCode, run_async, write_error

from loom_run._errors import LoomRunError, agent_errors_named
from loom_run._options import BareFlags, db_option, setup_change, setup_options

__all__ = ["serve"]

DEFAULT_PORT = 8733


@click.command(cls=BareFlags)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="0 takes any.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Who may do what (TOML); needed when others can reach the server. Without it a token is made.",
)
@click.option("--allow-host", multiple=True, metavar="NAME", help="One more name that the server is called by.")
@db_option
@setup_options
def serve(
    *, host: str, port: int, token_file: Path | None, allow_host: tuple[str, ...], db: str, **options: Any
) -> int:
    """Serve chats over HTTP, with a page.

    Start them, watch them live, decide about tool calls. Runs work here, not in a client's connection. Ctrl-C or
    SIGTERM ends the server; what was at work is gone on with by `loom-run resume`, or from the page of the next server.
    """
    try:
        from loom_agents.serve import serve as serve_product
    except ImportError as exc:
        raise LoomRunError(
            f"cannot serve: {exc.name!r} is not installed. Install it: pip install 'loom-run[serve]'."
        ) from exc
    from loom_run._served import ServedChats
    from loom_run._stores import opened
    from loom_run._trusting import Trusting

    def told(address: str, token: str | None) -> None:
        write_error(f"loom-run serves {db} at {address}" + (f"#token={token}" if token else ""))
        write_error("Ctrl-C ends it; what is at work then is gone on with by loom-run resume")

    with agent_errors_named(), opened(db) as store:
        change = setup_change(options)
        change.first().parts(database=Path(db))  # says now what is missing for a new chat
        served = ServedChats(store, replace(change.settled(), trusting=Trusting()))
        work = serve_product(served, host=host, port=port, token_file=token_file, allowed_hosts=allow_host, told=told)
        run_async(work)
        write_error("ended")
    return ExitCode.DONE
