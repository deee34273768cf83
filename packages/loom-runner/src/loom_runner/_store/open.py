"""Open a store or side tables by their address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loom_runner._store.address import sqlite_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from os import PathLike

    import apsw

    from loom_runner._store.side_tables import Migration, SideTables
    from loom_runner._store.sqlite.store import SQLiteStore

__all__ = ["check_database", "open_side_tables", "open_store"]


def open_store(address: str | PathLike[str], **options: Any) -> SQLiteStore:
    """Open the database at an address; a SQLite file is created if it does not exist.

    Args:
        address: A path, or `sqlite:///relative/path` or `sqlite:////absolute/path`, where the rest
            is the path as it is: without %-escapes and parameters. `:memory:` is a database without
            a file.
        options: The arguments of `SQLiteStore`: `durability`, `read_only`, `keep`, `keys`,
            `max_state_bytes`, `max_payload_bytes`.

    Raises:
        UsageError: No store supports the scheme of the address, the address names no file, or an
            option is not valid.
        StoreError: The database cannot be opened; see `SQLiteStore`.
    """
    from loom_runner._store.sqlite.store import SQLiteStore

    return SQLiteStore(address, **options)


def open_side_tables(
    address: str | PathLike[str],
    name: str,
    migrations: Sequence[Migration],
    *,
    always: str = "",
    functions: Mapping[str, Callable[..., Any]] | None = None,
    is_private: bool = True,
    read_only: bool = False,
) -> SideTables:
    """Open and migrate a group of tables beside the runs.

    Args:
        address: The database, as `open_store` takes it; a SQLite file is created if it does not
            exist.
        name: The name of the group, for instance `audit`.
        migrations: All migrations, in order.
        always: SQL that is executed at every opening, for instance to create triggers; it must be
            repeatable.
        functions: Functions for use in SQL, by name.
        is_private: Has no effect: a missing file is always created readable by its owner only.
        read_only: Write nothing: the file must exist, its tables stay as they are, and may be
            missing.

    Raises:
        UsageError: No store supports the address.
        StoreTooNew: A later version of the program wrote the tables.
        StoreError: The database cannot be used.
    """
    del is_private
    path = sqlite_path(address)
    from loom_runner._store.sqlite.side_tables import SQLiteSideTables

    return SQLiteSideTables(path, name, migrations, always=always, functions=functions, read_only=read_only)


def check_database(connection: apsw.Connection, path: str) -> None:
    """Prepare a connection of a product to a SQLite file of its own: refuse what is not of loom in
    it, and restrict the connection, as the openers above do for theirs.

    Raises:
        StoreForeign: The file holds a trigger, a view or another object that is not of loom.
    """
    from loom_runner._store.sqlite.foreign_objects import check_objects, restrict

    restrict(connection)
    check_objects(connection, path)
