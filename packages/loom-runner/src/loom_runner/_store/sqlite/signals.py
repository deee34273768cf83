"""Signals in the SQLite store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loom_runner._store.sqlite.base import OF_RUN, Reads, Writes
from loom_runner._store.sqlite.readiness import set_ready_at_of_run
from loom_runner._store.sqlite.rows import SELECT_SIGNAL, to_signal
from loom_runner.errors import UnknownRun

if TYPE_CHECKING:
    import apsw

    from loom_runner._model.records import SignalRecord

__all__ = ["SignalReads", "SignalWrites"]


class SignalReads(Reads):
    """Read `signals`."""

    def signals(self, run_id: str, *, name: str | None = None) -> list[SignalRecord]:
        where = f"{OF_RUN} AND (?2 IS NULL OR name = ?2 AND taken_in_step IS NULL) ORDER BY signal_key"
        return [to_signal(row, self._cells.get) for row in self._read(f"{SELECT_SIGNAL} {where}", (run_id, name))]


class SignalWrites(Writes):
    """Write `signals`."""

    async def send_signal(self, run_id: str, name: str, payload: str, at: int) -> None:
        await self._write(self._send_signal, run_id, name, payload, at)

    def _send_signal(self, db: apsw.Connection, run_id: str, name: str, payload: str, at: int) -> None:
        db.execute(
            """INSERT INTO signals (run_key, name, payload, sent_at)
               SELECT run_key, ?, ?, ? FROM runs WHERE run_id = ?""",
            (name, self._cells.put(payload, f"the payload of signal {name!r}"), at, run_id),
        )
        if not db.changes():
            raise UnknownRun(f"cannot signal {run_id!r}: there is no such run in {self.description}.", run_id=run_id)
        set_ready_at_of_run(db, run_id)
