"""The commands for the memory."""

from __future__ import annotations

from contextlib import closing

import click
from loom_runner.cli_base import Output, allow_database, choose_output, output_option, write_rows

from loom_ops._cli.options import db_option, must_only_read
from loom_ops._errors import LOOM_OPS, LoomOpsError

__all__ = ["memory"]


@click.group()
def memory() -> None:
    """List and remove the facts that earlier runs have learned."""


@memory.command(name="list")
@click.option("--all", "every", is_flag=True, help="List superseded and expired facts too.")
@db_option
@output_option
def list_(*, every: bool, db: str, output: Output | None) -> None:
    """List facts."""
    from loom_ops._clock import now_iso
    from loom_ops._memory import open_memory

    LOOM_OPS.require_database(db)
    allow_database(db, writes=False)
    with closing(open_memory(db, read_only=must_only_read(db))) as stored:
        found = stored.facts(now_iso(), with_old=every)
    columns = {
        "FACT": lambda row: str(row["number"]),
        "KIND": lambda row: row["kind"],
        "LEARNED": lambda row: row["learned_at"][:10],
        "TEXT": lambda row: row["text"],
    }
    write_rows([fact.as_json() for fact in found], columns, choose_output(output), empty="there are no facts")


@memory.command()
@click.argument("number", type=int)
@db_option
def forget(*, number: int, db: str) -> None:
    """Remove the fact with this number."""
    from loom_ops._memory import open_memory

    LOOM_OPS.require_database(db)
    allow_database(db, writes=True)
    with closing(open_memory(db)) as stored:
        was_there = stored.forget(number)
    if not was_there:
        raise LoomOpsError(f"cannot forget fact {number}: it does not exist. See loom-ops memory list.")
