"""Retention in the SQLite store: deleting steps of runs, and runs that have ended. Theory of
operation:

Only readers need committed steps; resuming reads the run's row. So a step's row may be deleted,
with the failed attempts, the finished tool calls and the received signals of that step. What stays
is the run's row, with sums over all steps including the deleted ones and the number of deleted
steps, the leases, and the approvals (an audit may ask years later who approved what).

*Remaining states.* A state may be stored as a difference to one that is deleted. So the states that
stay between deleted rows are encoded again, up to the first one after the gap.

*When.* The `keep` of a store or a commit is applied to a run every 128 steps and when its lease
ends, inside the step's transaction; so a run that is being driven has up to 127 rows more than it
keeps. `prune` applies it at once, run by run.

*Deletions.* A product that must tell a deleted run from a lost one has the side table
`deleted_runs (run_id TEXT PRIMARY KEY, deleted_at INTEGER NOT NULL)`. The root of each deleted tree
is then noted there, in the same transaction.

*Blobs* without a reference are deleted by `prune`. The references are read from the cells; there
are no counters that could be wrong.
"""

# ruff: noqa: S608  (the f-strings join constants of this package; values always travel as parameters)
from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from loom_runner._model.clock import SystemClock
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
_TREES_AT_ONCE: Final = 200
"""Trees of runs that `prune` deletes in one transaction."""
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
"""Runs that may be deleted with all their descendants: they match the given id, time and statuses,
and have no holder."""

_STEPS_OF: Final = """
    SELECT coalesce(sum((SELECT count(*) FROM steps
        WHERE step_key BETWEEN k.value << 32 AND (k.value << 32) + 0xffffffff)), 0) FROM json_each(?) k
"""
_HAS_DELETIONS: Final = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'deleted_runs'"
_NAMED_BLOBS: Final = " UNION ".join(
    f"SELECT substr({column}, 2, 32) FROM {table} WHERE typeof({column}) = 'blob' AND substr({column}, 1, 1) = x'62'"
    for table, column in CELLS
    if (table, column) not in (("blobs", "content"), ("steps", "state"), ("runs", "state"))
)


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What `prune` deleted, or would delete.

    Attributes:
        runs: Runs with all their rows.
        steps: Steps, including those of deleted runs.
        blobs: Payloads without a reference.
        blob_bytes: Their size before compression.
    """

    runs: int = 0
    steps: int = 0
    blobs: int = 0
    blob_bytes: int = 0

    def as_json(self) -> dict[str, int]:
        return asdict(self)


def _dropped_rows(db: apsw.Connection, run_key: int, keep: Keep) -> tuple[int, int, str]:
    """Return the first row to delete, the end of the range, and an SQL condition on the rows in the
    range.
    """
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
    """Count what may be deleted."""

    def plan_prune(
        self,
        *,
        run_id: str | None = None,
        before_us: int | None = None,
        statuses: Sequence[Status] = _ENDED,
        keep: Keep | None = None,
    ) -> PruneReport:
        """Count what `prune` with the same arguments would delete now, except blobs."""
        before = before_us if before_us is not None else 1 << 62
        if keep is None:
            keys = [
                key
                for _, each in self._read(_DELETABLE, (run_id, before, json.dumps(list(statuses))))
                for key in json.loads(each)
            ]
            [(steps,)] = self._read(_STEPS_OF, (json.dumps(keys),))
            return PruneReport(len(keys), steps)
        dropped = 0
        for (run_key,) in self._read(_ROOTS, (run_id, before)):
            with self._file.lock, self._file.named_errors():
                first, stop, condition = _dropped_rows(self._file.db, run_key, keep)
                count = f"SELECT count(*) FROM steps WHERE {SPAN} AND {condition}"
                dropped += int(self._file.db.execute(count, (run_key, first, stop)).get)
        return PruneReport(steps=dropped)


class RetentionWrites(Writes):
    """Delete rows."""

    async def prune(
        self,
        *,
        run_id: str | None = None,
        before_us: int | None = None,
        statuses: Sequence[Status] = _ENDED,
        keep: Keep | None = None,
    ) -> PruneReport:
        """Delete runs that have ended, or, with `keep`, steps of runs; and payloads without a
        reference.

        A run is deleted with its descendants, if all of them have one of these statuses and no
        holder.

        Args:
            run_id: Only this run; by default all runs.
            before_us: Only runs that have not changed since (microseconds since 1970).
            statuses: Only runs with these statuses; by default those that have ended.
            keep: Delete no run, but the steps that this does not keep, of runs of every status.

        Durability: Several transactions; when it is interrupted, what was deleted stays deleted.
        """
        before = before_us if before_us is not None else 1 << 62
        runs = steps = 0
        if keep is None:
            rows = self._read(_DELETABLE, (run_id, before, json.dumps(list(statuses))))
            trees = [json.loads(keys) for _, keys in rows]
            for first in range(0, len(trees), _TREES_AT_ONCE):
                some = trees[first : first + _TREES_AT_ONCE]
                dropped = await self._write(self._delete_trees, some, tuple(statuses))
                runs, steps = runs + dropped[0], steps + dropped[1]
        else:
            for (run_key,) in self._read(_ROOTS, (run_id, before)):
                while dropped_steps := await self._write(self._drop_steps, run_key, keep):
                    steps += dropped_steps
        blobs, blob_bytes = await self._write(self._collect_blobs)
        return PruneReport(runs, steps, blobs, blob_bytes)

    def _apply_keep(self, db: apsw.Connection, run_key: int, step_index: int, keep: Keep, *, is_end: bool) -> None:
        """Delete what `keep` does not keep, inside the transaction of a step, every 128 steps."""
        if is_end or (step_index + 1) % _EVERY_STEPS == 0:
            # A damaged old state cannot be encoded again, and is no reason to stop the run.
            with suppress(StoreDamaged):
                self._drop_steps(db, run_key, keep)

    def _drop_steps(self, db: apsw.Connection, run_key: int, keep: Keep) -> int:
        """Delete steps of one run, at most `_STEPS_AT_ONCE`; return how many."""
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
        # The newest call stays, because the number of the next one follows it.
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
        """Yield the states that stay between deleted rows, and the first one after them."""
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

    def _delete_trees(
        self, db: apsw.Connection, trees: Sequence[Sequence[int]], statuses: Sequence[Status]
    ) -> tuple[int, int]:
        """Delete trees of runs with all their rows, each if it is still deletable; return how many
        runs and steps.
        """
        # Every table with rows of runs, including side tables.
        tables: list[Any] = db.execute(
            """SELECT m.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c ON c.name = 'run_key'
               WHERE m.type = 'table' AND m.name <> 'runs'"""
        ).fetchall()
        has_deletions = bool(db.execute(_HAS_DELETIONS).get)
        names = [name for (name,) in tables]
        deleted = [self._delete_tree(db, keys, statuses, names, has_deletions=has_deletions) for keys in trees]
        return sum(runs for runs, _ in deleted), sum(steps for _, steps in deleted)

    def _delete_tree(
        self,
        db: apsw.Connection,
        keys: Sequence[int],
        statuses: Sequence[Status],
        tables: Sequence[str],
        *,
        has_deletions: bool,
    ) -> tuple[int, int]:
        still = f"""SELECT count(*) FROM runs WHERE run_key IN (SELECT value FROM json_each(?1))
            AND status IN (SELECT value FROM json_each(?2))
            AND (renewed_at IS NULL OR renewed_at + lease_ms <= {NOW_MS})"""
        if db.execute(still, (json.dumps(list(keys)), json.dumps(list(statuses)))).get != len(keys):
            return 0, 0
        steps = 0
        run_id, parent = db.execute("SELECT run_id, parent_key FROM runs WHERE run_key = ?", (keys[0],)).get
        for key in keys:
            db.execute(
                "DELETE FROM tool_tries WHERE number IN (SELECT number FROM tool_calls WHERE run_key = ?)", (key,)
            )
            db.execute(f"DELETE FROM steps WHERE {SPAN}", (key, 0, FOREVER))
            steps += db.changes()
            for table in tables:
                db.execute(f"DELETE FROM {table} WHERE run_key = ?", (key,))
            db.execute("DELETE FROM runs WHERE run_key = ?", (key,))
        if parent is not None and parent not in keys:
            set_ready_at_of_run_key(db, parent)
        if has_deletions:
            db.execute("INSERT OR REPLACE INTO deleted_runs VALUES (?, ?)", (run_id, SystemClock().now_us()))
        return len(keys), steps

    def _collect_blobs(self, db: apsw.Connection) -> tuple[int, int]:
        """Delete the payloads that no cell references; return their number and their size in
        bytes.
        """
        where = f"WHERE hash NOT IN ({_NAMED_BLOBS})"
        count, size_bytes = db.execute(f"SELECT count(*), coalesce(sum(size_bytes), 0) FROM blobs {where}").get
        if count:
            db.execute(f"DELETE FROM blobs {where}")
        return count, size_bytes

    def vacuum(self) -> int:
        """Return free pages to the file system; return by how many bytes the file shrank."""
        with self._file.lock, self._file.named_errors():
            db = self._file.db
            before = db.pragma("page_count")
            db.execute("PRAGMA incremental_vacuum").fetchall()
            if not self._file.in_memory:
                db.pragma("wal_checkpoint(TRUNCATE)")
            return int((before - db.pragma("page_count")) * db.pragma("page_size"))
