"""Tables that a program keeps beside runs: audit entries, facts, messages, undo logs. Theory of
operation:

*One opener.* `open_side_tables(address, name, migrations)` opens the database that holds the runs,
or a separate one, and migrates the tables of this name. What all such tables share is implemented
once: waiting for other writers, transactions, translated errors.

*Numbered migrations.* A migration is SQL, or a function that is called with the connection.
Migrations form an append-only list; a released one is never edited. The table `side_tables` holds
the number of applied migrations for each name. Databases of earlier versions have the tables
without a number, so the first migration must tolerate existing tables
(`CREATE TABLE IF NOT EXISTS`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["Migration", "SideTables"]

Migration = str | Callable[[Any], None]
"""SQL, or a function that is called with the connection inside the transaction of the migration."""

Row = tuple[Any, ...]


class SideTables(Protocol):
    """The open tables of one name. Not thread-safe."""

    @property
    def address(self) -> str:
        """The address that opens the same database again."""

    def transaction(self) -> AbstractContextManager[Any]:
        """Run the block in a write transaction: committed at its end, rolled back if it raises.

        Durability: on disk when the block has ended.
        """

    def rows(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Row]:
        """Return all rows of a query."""

    def change_mark(self) -> object:
        """Return a value that changes when another connection writes; this reads no table."""

    def close(self) -> None:
        """Close the database. Closing it twice is allowed."""
