"""Open a store, or tables beside runs, by an address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loom_runner._store.address import sqlite_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from loom_runner._store.side_tables import Migration, SideTables
    from loom_runner._store.sqlite.store import SQLiteStore

__all__ = ["open_side_tables", "open_store"]


def open_store(address: str | Path, **options: Any) -> SQLiteStore:
    """Open the database that an address names; a SQLite file is created when it is missing.

    Args:
        address: A path, or `sqlite:///relative/path` or `sqlite:////absolute/path`; `:memory:` is a database without
            a file.
        options: Those of the store: `durability`, `read_only`, `keep`, `keys`, `max_state_bytes`,
            `max_payload_bytes`; see `SQLiteStore`.

    Raises:
        UsageError: The address has a scheme that no store serves, or names no file.
        StoreError: The database cannot be opened; see `SQLiteStore`.
    """
    path = sqlite_path(address)
    from loom_runner._store.sqlite.store import SQLiteStore

    return SQLiteStore(path, **options)


def open_side_tables(
    address: str | Path,
    name: str,
    migrations: Sequence[Migration],
    *,
    always: str = "",
    functions: Mapping[str, Callable[..., Any]] | None = None,
    is_private: bool = False,
) -> SideTables:
    """Open the tables of a name in a database, and bring them up to date.

    Args:
        address: The database, as `open_store` takes it; a SQLite file is created when it is missing.
        name: Names the tables together, for instance `audit`.
        migrations: All of them, in order.
        always: SQL that is run at every opening, for instance triggers on tables of others; it must be repeatable.
        functions: Functions for use in SQL, by name.
        is_private: A file that is created can be read by its owner only.

    Raises:
        UsageError: No store serves the address.
        StoreTooNew: A later version of the program wrote the tables.
        StoreError: The database cannot be used.
    """
    path = sqlite_path(address)
    from loom_runner._store.sqlite.side_tables import SQLiteSideTables

    return SQLiteSideTables(path, name, migrations, always=always, functions=functions, is_private=is_private)
