"""Tables that a program keeps beside runs: audit entries, facts, messages, undo logs. Theory of operation:

*One opener.* `open_side_tables(address, name, migrations)` opens the database that holds the runs, or one of its own,
and brings the tables of this name up to date. What is common to all such tables is done here and nowhere else: waiting
for other writers, transactions, errors by name.

*Numbered migrations.* A migration is SQL, or a function that is given the connection. They are an append-only list; a
released one is never edited. How many of them a database has had is in its table `side_tables`, by name. Databases of
versions before 0.8 have the tables but no number: so the first migration must do no harm when its tables are there
(`CREATE TABLE IF NOT EXISTS`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["Migration", "SideTables"]

Migration = str | Callable[[Any], None]
"""SQL, or a function that is given the open connection, inside the transaction of the migration."""

Row = tuple[Any, ...]


class SideTables(Protocol):
    """Open tables of one name. For one thread at a time."""

    @property
    def address(self) -> str:
        """What opens the database again."""

    def transaction(self) -> AbstractContextManager[Any]:
        """Write: what is done with the connection in the block is committed at its end, or undone when it raises.

        Durability: committed and on disk when the block has ended.
        """

    def rows(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Row]:
        """Read all rows of a query."""

    def change_mark(self) -> object:
        """Return a value that is another one after a write by anybody else; asking for it reads no table."""

    def close(self) -> None:
        """Close the database. Closing twice is harmless."""
