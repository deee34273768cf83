"""The base of the modules of the SQLite store. Theory of operation:

A group of tables is a module with two classes: its reads, a subclass of `Reads`, and its writes, a
subclass of `Writes`. `SQLiteReader` is all reads together, `SQLiteStore` all writes. Both use one
connection, under its lock.

A public write is a coroutine that passes a method `work(db, ...)` to `_write`. The method changes
rows inside the open transaction, awaits nothing, and raises to have its changes rolled back.
"""

# ruff: noqa: S608  (the f-strings join constants of this package; values always travel as parameters)
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

from loom_runner._store.sqlite.group_commit import GroupCommit
from loom_runner._store.sqlite.rows import NOW_MS
from loom_runner.errors import LeaseLost, WriteLocked

if TYPE_CHECKING:
    from collections.abc import Callable

    import apsw

    from loom_runner._model.records import AttemptRecord, Claim, ErrorInfo
    from loom_runner._model.retention import Keep
    from loom_runner._store.cells import Cell, Cells
    from loom_runner._store.history import History
    from loom_runner._store.sqlite.file import SQLiteFile

__all__ = ["FOREVER", "OF_RUN", "SPAN", "STEPS_OF_RUN", "Reads", "Writes"]

P = ParamSpec("P")
T = TypeVar("T")

OF_RUN: Final = "WHERE run_key = (SELECT run_key FROM runs WHERE run_id = ?1)"
"""The rows of one run, by its id as the first parameter."""
SPAN: Final = "step_key BETWEEN (?1 << 32) + ?2 AND (?1 << 32) + ?3 - 1"
"""The rows in `steps` of run ?1 (its key), from step ?2 on and before step ?3."""
FOREVER: Final = 1 << 32
"""A number above that of every step."""
STEPS_OF_RUN: Final = """
    WHERE step_key BETWEEN ((SELECT run_key FROM runs WHERE run_id = ?1) << 32) + ?2
        AND ((SELECT run_key FROM runs WHERE run_id = ?1) << 32) + 0xffffffff
"""
"""The rows in `steps` of one run, from the step on that is the second parameter."""


class Reads:
    """Reads of one open database."""

    def __init__(self, file: SQLiteFile, cells: Cells, history: History, keep: Keep) -> None:
        self._file = file
        self._cells = cells
        self._history = history
        self._keep = keep

    @property
    def description(self) -> str:
        """See `StoreReader`."""
        return self._file.path

    @property
    def address(self) -> str:
        """See `StoreReader`."""
        return self._file.address

    def _read(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with self._file.lock, self._file.named_errors():
            self._cells.begin_read()
            return self._file.db.execute(sql, values).fetchall()


class Writes(Reads):
    """Writes to one open database."""

    def __init__(self, file: SQLiteFile, cells: Cells, history: History, keep: Keep) -> None:
        super().__init__(file, cells, history, keep)
        self._transaction = file.quick_transaction
        self._execute = file.db.cursor().execute
        """For the statements of every step, which return no rows. A new cursor for each would cost
        as much as the statement."""
        self._is_closed = False
        self._group = GroupCommit(file)
        self._held: set[int] = set()
        """The runs that this process holds. With more than one, writes are grouped."""

    async def _write(self, work: Callable[Concatenate[apsw.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a write transaction; when this returns, its changes are durable."""
        if len(self._held) > 1:
            return await self._group.write(False, work, *args, **kwargs)
        try:
            with self._transaction as db:
                return work(db, *args, **kwargs)
        except WriteLocked:  # the group waits for the lock, and the loop goes on
            return await self._group.write(False, work, *args, **kwargs)

    async def _write_first(
        self, work: Callable[Concatenate[apsw.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Write what begins to drive a run. Always grouped, so that runs which are started together
        write together from their first step on."""
        return await self._group.write(False, work, *args, **kwargs)

    async def _write_call(
        self,
        is_start: bool,
        work: Callable[Concatenate[apsw.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Write the start or the end of a tool call.

        Even a single run makes concurrent calls (`gather`), so a shared sync is worth a turn of the
        loop. A start that is cancelled in the queue is not written.
        """
        if len(self._held) > 1 or self._file.durability == "power":
            return await self._group.write(is_start, work, *args, **kwargs)
        try:
            with self._transaction as db:
                return work(db, *args, **kwargs)
        except WriteLocked:
            return await self._group.write(is_start, work, *args, **kwargs)

    def _renew_lease(self, db: apsw.Connection, claim: Claim) -> None:
        """Renew the lease inside an open transaction.

        Raises:
            LeaseLost: Another process holds the run, or the lease was released.
        """
        db.execute(
            f"UPDATE runs SET renewed_at = {NOW_MS} WHERE run_key = ? AND fence = ? AND renewed_at IS NOT NULL",
            (claim.run_key, claim.fence),
        )
        if db.changes() != 1:
            raise self._lost(claim)

    def _lost(self, claim: Claim) -> LeaseLost:
        self._release(claim.run_key)
        return LeaseLost(
            f"cannot write to {claim.run_id!r}: another process took the run over (this one held "
            f"fence {claim.fence}). Nothing was written; see loom-runner explain.",
            run_id=claim.run_id,
        )

    def _release(self, run_key: int) -> None:
        self._held.discard(run_key)
        self._history.forget(run_key)

    def _end_lease(self, db: apsw.Connection, claim: Claim, at: int, ended_as: str, note: str | None) -> None:
        self._release(claim.run_key)
        self._file.check_all_next()
        db.execute(
            "UPDATE leases SET ended_at = ?, ended_as = ?, note = ? WHERE run_key = ? AND fence = ?",
            (at, ended_as, self._put(note, "a note"), claim.run_key, claim.fence),
        )

    def _add_attempt(self, db: apsw.Connection, claim: Claim, attempt: AttemptRecord) -> None:
        db.execute(
            """INSERT INTO attempts (run_key, step_index, attempt, kind, started_at, ended_at, retry_at, fence, error)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            (
                claim.run_key,
                attempt.step_index,
                attempt.attempt,
                attempt.kind,
                attempt.started_at,
                attempt.ended_at,
                attempt.retry_at,
                attempt.fence,
                self._put_error(attempt.error),
            ),
        )

    # ------------------------------------------------------------------ what users wrote

    def _put(self, text: str | None, what: str) -> Cell | None:
        """Encode what a user wrote. Every such column is written with this method and read with
        `_cells.get`.
        """
        return None if text is None else self._cells.put(text, what)

    def _put_error(self, error: ErrorInfo | None) -> Cell | None:
        return None if error is None else self._cells.put(json.dumps(error.as_json()), "an error")
