"""Retention in the SQLite store: dropping steps of runs that go on, and runs that are over. Theory of operation:

A committed step is needed by nobody but a reader: resume reads the run's row. So its row may go, with the failed
attempts, the finished tool calls and the taken signals of that step. What stays is the run's row, with the sums over
all steps that ever were, the leases, the approvals (who allowed what is asked for years later), and the number of
steps that were dropped.

*The states that stay.* A state may be written as a difference to one that goes; so those that stay between rows that
go are written anew, up to the first one behind the gap.

*When.* `keep` of a store or a commit is applied to a run every 128 steps and when its lease ends, inside the step's
transaction; so a run has up to 127 rows more than it keeps while it is driven. `prune` does it at once, run by run.

*Blobs* that nothing names any more are looked for by `prune`: which are named is read from the cells themselves, so no
count can be wrong.
"""

# ruff: noqa: S608  (the f-strings join constants of this package; values always travel as parameters)
from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from loom_runner._model.retention import Every, Keep, Last
from loom_runner._store.sqlite.base import FOREVER, SPAN, Reads, Writes
from loom_runner._store.sqlite.readiness import set_ready_at_of_run_key
from loom_runner._store.sqlite.rows import NOW_MS
from loom_runner._store.sqlite.schema import CELLS
from loom_runner.errors import StoreDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import apsw

    from loom_runner._model.statuses import Status

__all__ = ["PruneReport", "RetentionReads", "RetentionWrites"]

_EVERY_STEPS: Final = 128
_STEPS_AT_ONCE: Final = 10_000
_ROWS_AT_ONCE: Final = 200
_ENDED: Final[tuple[Status, ...]] = ("completed", "failed", "cancelled")

_ROOTS: Final = "SELECT run_key FROM runs WHERE (?1 IS NULL OR run_id = ?1) AND updated_at < ?2"
_DELETABLE: Final = f"""
    WITH RECURSIVE
    root(run_key) AS ({_ROOTS} AND (?1 IS NOT NULL OR parent_key IS NULL)),
    tree(root_key, run_key) AS (
        SELECT run_key, run_key FROM root
        UNION SELECT t.root_key, r.run_key FROM runs r JOIN tree t ON r.parent_key = t.run_key
    )
    SELECT t.root_key, json_group_array(t.run_key) FROM tree t JOIN runs r ON r.run_key = t.run_key
    GROUP BY t.root_key
    HAVING min(r.status IN (SELECT value FROM json_each(?3))
        AND (r.renewed_at IS NULL OR r.renewed_at + r.lease_ms <= {NOW_MS}))
"""
"""Runs that may go with all their descendants: of ids, times and statuses asked for, and held by nobody."""

_NAMED_BLOBS: Final = " UNION ".join(
    f"SELECT substr({column}, 2, 32) FROM {table} WHERE typeof({column}) = 'blob' AND substr({column}, 1, 1) = x'62'"
    for table, column in CELLS
    if (table, column) not in (("blobs", "content"), ("steps", "state"), ("runs", "state"))
)


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What `prune` dropped, or would drop.

    Attributes:
        runs: Runs with all their rows.
        steps: Steps, those of the runs included.
        blobs: Payloads that nothing names any more.
        blob_bytes: Their size before compression.
    """

    runs: int = 0
    steps: int = 0
    blobs: int = 0
    blob_bytes: int = 0

    def as_json(self) -> dict[str, int]:
        return asdict(self)


def _dropped_rows(db: apsw.Connection, run_key: int, keep: Keep) -> tuple[int, int, str]:
    """The first row that goes, the first one after them, and which of those between go."""
    newest = db.execute(f"SELECT max(step_key) & 0xffffffff FROM steps WHERE {SPAN}", (run_key, 0, FOREVER)).get
    if newest is None or keep == "all":
        return 0, 0, "1"
    stop = newest - keep.steps + 1 if isinstance(keep, Last) else newest
    condition = "1" if isinstance(keep, Last) else f"step_index % {keep.steps} <> 0"
    oldest = db.execute(
        f"SELECT step_index FROM steps WHERE {SPAN} AND {condition} ORDER BY step_key LIMIT 1",
        (run_key, 0, max(stop, 0)),
    ).get
    return (0, 0, condition) if oldest is None else (int(oldest), stop, condition)


class RetentionReads(Reads):
    """Count what may be dropped."""

    def plan_prune(
        self,
        *,
        run_id: str | None = None,
        before_us: int | None = None,
        statuses: Sequence[Status] = _ENDED,
        keep: Keep | None = None,
    ) -> PruneReport:
        """Count what `prune` with the same arguments would drop now, without its blobs."""
        before = before_us if before_us is not None else 1 << 62
        if keep is None:
            keys = [
                key
                for _, each in self._read(_DELETABLE, (run_id, before, json.dumps(list(statuses))))
                for key in json.loads(each)
            ]
            counts = [self._read(f"SELECT count(*) FROM steps WHERE {SPAN}", (key, 0, FOREVER))[0][0] for key in keys]
            return PruneReport(len(keys), sum(counts))
        dropped = 0
        for (run_key,) in self._read(_ROOTS, (run_id, before)):
            with self._file.lock, self._file.named_errors():
                first, stop, condition = _dropped_rows(self._file.db, run_key, keep)
                count = f"SELECT count(*) FROM steps WHERE {SPAN} AND {condition}"
                dropped += int(self._file.db.execute(count, (run_key, first, stop)).get)
        return PruneReport(steps=dropped)


class RetentionWrites(Writes):
    """Drop rows."""

    async def prune(
        self,
        *,
        run_id: str | None = None,
        before_us: int | None = None,
        statuses: Sequence[Status] = _ENDED,
        keep: Keep | None = None,
    ) -> PruneReport:
        """Drop runs that are over, or, with `keep`, steps of runs that stay; and payloads that nothing names any more.

        A run goes with its descendants, when all of them are of these statuses and nobody holds one.

        Args:
            run_id: Of this run; by default of all.
            before_us: Of runs that have not changed since then (microseconds since 1970).
            statuses: Of which runs are dropped; runs that can still go on only when they are asked for.
            keep: Drop no run, but the steps that this does not keep, of runs of every status.

        Durability: done in several transactions; what was dropped when it is interrupted stays dropped.
        """
        before = before_us if before_us is not None else 1 << 62
        runs = steps = 0
        if keep is None:
            rows = self._read(_DELETABLE, (run_id, before, json.dumps(list(statuses))))
            for _, keys in rows:
                dropped = await self._write(self._delete_tree, json.loads(keys), tuple(statuses))
                runs, steps = runs + dropped[0], steps + dropped[1]
        else:
            for (run_key,) in self._read(_ROOTS, (run_id, before)):
                while dropped_steps := await self._write(self._drop_steps, run_key, keep):
                    steps += dropped_steps
        blobs, blob_bytes = await self._write(self._collect_blobs)
        return PruneReport(runs, steps, blobs, blob_bytes)

    def _apply_keep(self, db: apsw.Connection, run_key: int, step_index: int, keep: Keep, *, is_end: bool) -> None:
        """Drop what `keep` does not keep, inside the transaction of a step, now and then."""
        if is_end or (step_index + 1) % _EVERY_STEPS == 0:
            # What cannot be read cannot be written anew either, and is no reason for the run to stop.
            with suppress(StoreDamaged):
                self._drop_steps(db, run_key, keep)

    def _drop_steps(self, db: apsw.Connection, run_key: int, keep: Keep) -> int:
        """Drop steps of one run, at most so many; return how many."""
        first, stop, condition = _dropped_rows(db, run_key, keep)
        stop = min(stop, first + _STEPS_AT_ONCE)
        if first >= stop:
            return 0
        is_kept = keep.steps if isinstance(keep, Every) else 0
        base = self._history.base_before(db, run_key, first) if is_kept else None
        written = list(self._history.rewritten(base, self._kept_states(db, run_key, first, stop, is_kept)))
        bounds = (run_key, first, stop)
        db.execute(f"DELETE FROM steps WHERE {SPAN} AND {condition}", bounds)
        dropped = db.changes()
        for index, cell in written:
            db.execute("UPDATE steps SET state = ? WHERE step_key = (? << 32) | ?", (cell, run_key, index))
        db.execute("UPDATE runs SET dropped_steps = dropped_steps + ? WHERE run_key = ?", (dropped, run_key))
        # The newest call stays, because the next one is numbered after it.
        calls = f"""run_key = ?1 AND step_index >= ?2 AND step_index < ?3 AND {condition}
            AND status IN ('done', 'failed') AND number < (SELECT max(number) FROM tool_calls WHERE run_key = ?1)"""
        db.execute(f"DELETE FROM tool_tries WHERE number IN (SELECT number FROM tool_calls WHERE {calls})", bounds)
        db.execute(f"DELETE FROM tool_calls WHERE {calls}", bounds)
        of_run = f"run_key = ?1 AND step_index >= ?2 AND step_index < ?3 AND {condition}"
        db.execute(f"DELETE FROM attempts WHERE {of_run}", bounds)
        db.execute(f"DELETE FROM signals WHERE {of_run.replace('step_index', 'taken_in_step')}", bounds)
        return dropped

    def _kept_states(
        self, db: apsw.Connection, run_key: int, first: int, stop: int, every: int
    ) -> Iterator[tuple[int, str]]:
        """The states that stay and whose neighbours go, up to the first one after the rows that go."""
        rows = self._cells_from(db, run_key, first if every else stop)
        for index, text in self._history.read(db, run_key, rows, lambda index: f"the state of step {index}"):
            if text is None:
                continue
            if index >= stop:
                yield index, text
                return
            if index % every == 0:
                yield index, text

    @staticmethod
    def _cells_from(db: apsw.Connection, run_key: int, first: int) -> Iterator[tuple[int, Any]]:
        select = f"SELECT step_index, state FROM steps WHERE {SPAN} ORDER BY step_key LIMIT ?4"
        page: list[Any]
        while page := list(db.execute(select, (run_key, first, FOREVER, _ROWS_AT_ONCE))):
            yield from page
            first = page[-1][0] + 1

    def _delete_tree(self, db: apsw.Connection, keys: Sequence[int], statuses: Sequence[Status]) -> tuple[int, int]:
        """Delete runs with all their rows, if they are still to go; return how many runs and steps."""
        still = f"""SELECT count(*) FROM runs WHERE run_key IN (SELECT value FROM json_each(?1))
            AND status IN (SELECT value FROM json_each(?2))
            AND (renewed_at IS NULL OR renewed_at + lease_ms <= {NOW_MS})"""
        if db.execute(still, (json.dumps(list(keys)), json.dumps(list(statuses)))).get != len(keys):
            return 0, 0
        # Every table that has rows of runs, those of other modules included.
        tables = db.execute(
            """SELECT m.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c ON c.name = 'run_key'
               WHERE m.type = 'table' AND m.name <> 'runs'"""
        ).fetchall()
        steps = 0
        parent = db.execute("SELECT parent_key FROM runs WHERE run_key = ?", (keys[0],)).get
        for key in keys:
            db.execute(
                "DELETE FROM tool_tries WHERE number IN (SELECT number FROM tool_calls WHERE run_key = ?)", (key,)
            )
            db.execute(f"DELETE FROM steps WHERE {SPAN}", (key, 0, FOREVER))
            steps += db.changes()
            for (table,) in tables:
                db.execute(f"DELETE FROM {table} WHERE run_key = ?", (key,))
            db.execute("DELETE FROM runs WHERE run_key = ?", (key,))
        if parent is not None and parent not in keys:
            set_ready_at_of_run_key(db, parent)
        return len(keys), steps

    def _collect_blobs(self, db: apsw.Connection) -> tuple[int, int]:
        """Delete the payloads that no cell names; return how many, and how many bytes they were."""
        where = f"WHERE hash NOT IN ({_NAMED_BLOBS})"
        count, size_bytes = db.execute(f"SELECT count(*), coalesce(sum(size_bytes), 0) FROM blobs {where}").get
        if count:
            db.execute(f"DELETE FROM blobs {where}")
        return count, size_bytes

    def vacuum(self) -> int:
        """Give free pages back to the file system; return how many bytes the file became smaller."""
        with self._file.lock, self._file.named_errors():
            db = self._file.db
            before = db.pragma("page_count")
            db.execute("PRAGMA incremental_vacuum").fetchall()
            if not self._file.in_memory:
                db.pragma("wal_checkpoint(TRUNCATE)")
            return int((before - db.pragma("page_count")) * db.pragma("page_size"))
