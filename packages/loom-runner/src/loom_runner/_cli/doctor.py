"""`doctor`: check a database, its machine and its runs."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loom_runner._cli.base import ExitCode
from loom_runner._cli.options import db_option, open_database
from loom_runner._cli.output import Output, choose_output, output_option, styled, write_error, write_json, write_line
from loom_runner._model.formatting import one_line
from loom_runner.errors import StoreReadOnly

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loom_runner._store.sqlite.file import Durability
    from loom_runner._store.sqlite.store import SQLiteStore

__all__ = ["doctor"]

_MARKS = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "bad": ("BAD ", "red")}


@click.command()
@db_option
@click.option(
    "--durability",
    type=click.Choice(["power", "process"]),
    default="power",
    show_default=True,
    help="The durability with which runs are driven.",
)
@output_option
def doctor(db: str, durability: Durability, output: Output | None) -> int:
    """Check a database, its machine and its runs.

    The exit code is 1 if a check is bad.
    """
    from loom_runner._queries.doctor import examine

    with _opened_as_driven(db, durability) as store:
        checks = list(examine(store.reader, db))
    mode = choose_output(output)
    if mode != "text":
        rows = [check.as_json() for check in checks]
        if mode == "json":
            write_json(rows)
        else:
            for row in rows:
                write_json(row, "jsonl")
    else:
        wide = max(len(check.name) for check in checks)
        for check in checks:
            mark, colour = _MARKS[check.verdict]
            write_line(f"{styled(mark, fg=colour)}  {check.name:<{wide}}  {one_line(check.text)}")
    return ExitCode.FAILED if any(check.verdict == "bad" for check in checks) else ExitCode.DONE


@contextlib.contextmanager
def _opened_as_driven(db: str, durability: Durability) -> Iterator[SQLiteStore]:
    """Open a database as for driving runs; read-only if it is not writable."""
    from loom_runner._store.sqlite.store import SQLiteStore

    with open_database(db, "examine it"):  # refuses a wrong file before anything is written to it
        pass
    if os.access(db, os.W_OK) and os.access(Path(db).resolve().parent, os.W_OK):
        with contextlib.suppress(StoreReadOnly), SQLiteStore(db, durability) as store:
            yield store
            return
    write_error(f"{db} is read-only: the durability below is that of a reader.")
    with SQLiteStore(db, read_only=True) as store:
        yield store
