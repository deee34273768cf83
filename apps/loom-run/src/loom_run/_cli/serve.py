"""`loom-run serve`: chats over HTTP, and a page to watch them and decide about tool calls."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from loom_agents.cli import BareFlags, serve_options

from loom_run._cli.options import db_option, setup_change, setup_options
from loom_run._errors import LOOM_RUN

if TYPE_CHECKING:
    from loom_runner import SQLiteStore

    from loom_run._serve.product import ServedChats

__all__ = ["serve"]


@click.command(cls=BareFlags)
@serve_options(port=8733)
@db_option
@setup_options
def serve(*, db: str, **options: Any) -> int:
    """Serve chats over HTTP, with a page.

    Clients start chats, watch them live and decide about tool calls. The server drives the runs, so
    they continue when a client disconnects. Ctrl-C or SIGTERM stops the server; resume unfinished
    runs with `loom-run resume`, or from the page after the next start.
    """

    def build(store: "SQLiteStore") -> "ServedChats":
        from loom_run._config.trust import TrustPrompt
        from loom_run._serve.product import ServedChats

        change = setup_change(options)
        change.new_setup().build(database=Path(db))  # fails now when something is missing for a new chat
        return ServedChats(store, replace(change.without_trust(), trust=TrustPrompt()))

    return LOOM_RUN.serve(build, db, options)
