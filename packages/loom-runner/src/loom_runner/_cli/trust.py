"""Whether a command may write to a database: one that somebody else made is only read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from loom_runner._cli.output import write_error
from loom_runner._store.address import database_exists, sqlite_path
from loom_runner.errors import StoreForeign

if TYPE_CHECKING:
    from collections.abc import Callable

    from loom_runner._store.sqlite.store import SQLiteStore

__all__ = ["allow_database", "may_write_database", "remember_database", "trust_option"]

_KEY: Final = "loom_runner.trust"


def _store(context: click.Context, _: click.Parameter, value: bool) -> None:
    context.meta[_KEY] = value or context.meta.get(_KEY, False)


trust_option: Callable[[Callable[..., object]], Callable[..., object]] = click.option(
    "--trust",
    is_flag=True,
    expose_value=False,
    callback=_store,
    help="Trust the database from now on, although somebody else may have made it.",
)
"""Adds `--trust` to a command that writes. A command that has an option of this name needs no
other."""


def allow_database(db: str, *, writes: bool, only_product_runs: bool = False) -> bool:
    """Check, before a database is opened, that a command of this user may write to it.

    Args:
        db: Its address. A file that does not exist is allowed.
        writes: The command writes. One that reads prints a note.
        only_product_runs: Allow a database without runs of a product.

    Returns:
        Whether the user trusts it with this command, so that it is to be remembered.

    Raises:
        StoreForeign: It is foreign, and the user does not trust it.
        StoreError: It cannot be read.
    """
    path = sqlite_path(db)
    if path == ":memory:" or not database_exists(path):
        return False
    from loom_runner._store.origin import foreign_because, record
    from loom_runner._store.sqlite.peek import peek

    found = peek(path)
    if found is None or (only_product_runs and not found.has_product_runs):
        return False
    why = foreign_because(path, found.origin)
    if why is None:
        return False
    if _is_trusted():
        record(found.origin.database_id, path)
        return True
    if writes:
        raise StoreForeign(
            f"cannot write to {db}: {why}. If you trust whoever made it, repeat the command with --trust (or "
            "LOOM_TRUST_DATABASE=1)."
        )
    write_error(f"note: {db} is only read: {why}.")
    return False


def may_write_database(db: str) -> bool:
    """Return whether a command that need not write may: nobody else made the database, and the
    system permits it.
    """
    try:
        allow_database(db, writes=True)
    except StoreForeign:
        return False
    file = Path(sqlite_path(db))
    return os.access(file.parent, os.W_OK) and (os.access(file, os.W_OK) or not file.exists())


def remember_database(store: SQLiteStore) -> None:
    """Record a database that a command of this user made, or may write to."""
    from loom_runner._store.origin import is_recorded, record

    database_id = store.reader.database_id
    if database_id and not is_recorded(database_id):
        record(database_id, store.reader.address)


def _is_trusted() -> bool:
    if os.environ.get("LOOM_TRUST_DATABASE") == "1":
        return True
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.params.get("trust") or context.meta.get(_KEY))
