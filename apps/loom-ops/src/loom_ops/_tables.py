"""The tables of loom-ops in the database of the runs, with the errors of loom-ops."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from loom_runner import StoreError
from loom_runner.store import open_side_tables

from loom_ops._errors import LoomOpsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from loom_runner.store import Migration

__all__ = ["Tables"]


class Tables:
    """One group of tables in the database of the runs.

    Args:
        address: The database.
        name: Names the group: its migrations are counted under this name.
        content: What the tables hold, for messages: *cannot write the audit trail in ops.sqlite*.
        migrations: All migrations, the oldest first; see `loom_runner.store.open_side_tables`.
        error: The class that errors of the store are translated to.
        hint: A further sentence for their messages.
        read_only: Write nothing, also no migration; the tables may be missing.

    Raises:
        LoomOpsError: The database cannot be opened, as `error`.

    Durability:
        A transaction is on disk when its block has ended.
    """

    def __init__(
        self,
        address: Path | str,
        name: str,
        content: str,
        migrations: Sequence[Migration],
        *,
        error: type[LoomOpsError] = LoomOpsError,
        hint: str = "",
        read_only: bool = False,
    ) -> None:
        self._description = f"{content} in {address}"
        self._error = error
        self._hint = hint
        with self._errors("open"):
            self._tables = open_side_tables(address, name, migrations, read_only=read_only)

    def close(self) -> None:
        """Close the database. Closing twice is harmless."""
        self._tables.close()

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Read all rows of a query.

        Raises:
            LoomOpsError: The store refuses, as `error`.
        """
        with self._errors("read"):
            return self._tables.rows(sql, values)

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """Yield the connection in a write transaction, committed at the end or rolled back.

        Raises:
            LoomOpsError: The store refuses, as `error`.
        """
        with self._errors("write"), self._tables.transaction() as connection:
            yield connection

    @contextmanager
    def _errors(self, verb: str) -> Iterator[None]:
        try:
            yield
        except StoreError as exc:
            reason = str(exc.__cause__ or str(exc).partition(": ")[2]).splitlines()[0].rstrip(".")
            raise self._error(f"cannot {verb} the {self._description}: {reason}. {self._hint}".rstrip()) from exc
