"""The commands about a database and what leaves it: the page of a run, and its rows."""

from __future__ import annotations

import click

from loom_runner._cli_open import asking, named_run, reading
from loom_runner.cli_base import Output, choose_output, write_json, write_line

__all__ = ["STORE_COMMANDS"]


@click.command("trace")
@asking
@click.option("--html", "html", required=True, type=click.Path(), help="The page to write.")
def trace_command(*, names: tuple[str, ...], run_id: str | None, db: str, output: Output | None, html: str) -> None:
    """Write a run's page (HTML) from its rows.

    It shows every process that ever worked on the run, crashes included, and needs no network.
    """
    from loom_runner._observer import write_trace  # noqa: PLC0415

    name = named_run(names, run_id, "trace").run_id
    with reading(db, name, "trace") as store:
        write_trace(store, name, html)
    mode = choose_output(output)
    if mode == "text":
        write_line(f"{html}  open it in a browser; it needs no network")
    else:
        write_json({"run_id": name, "html": html}, mode)


STORE_COMMANDS: tuple[click.Command, ...] = (trace_command,)
