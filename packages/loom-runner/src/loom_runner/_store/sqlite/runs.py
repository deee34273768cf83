"""Runs and their leases in the SQLite store."""

# ruff: noqa: S608  (the f-strings join constants of this package; values always travel as parameters)
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from loom_runner._model.records import AttemptRecord, Claim, ErrorInfo
from loom_runner._model.run_filter import ALL_RUNS, RunFilter
from loom_runner._model.statuses import MOVES
from loom_runner._store.sqlite.base import OF_RUN, Reads, Writes
from loom_runner._store.sqlite.rows import LEASE_LEFT_MS, NOW_MS, SELECT_LEASE, SELECT_RUN, to_lease, to_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from loom_runner._model.records import LeaseRecord, RunRecord
    from loom_runner._model.writes import LeaseRequest, NewRun

__all__ = ["RunReads", "RunWrites"]

FOREVER_US: Final = 1 << 62
_FEW: Final = 20_000
"""With 1,000,000 runs, about as many rows are read in the order of the list to find 100 of
these.
"""
_CONDITIONS: Final = {  # the plus signs make SQLite read in the order of the list, not of the ids
    "program": " AND program = :program",
    "prefix": " AND +run_id >= :prefix AND +run_id < :after_prefix",
    "text": " AND instr(run_id, :text) > 0",
}
_NOT_RUNNING: Final = " AND status <> 'running'"
"""The term of the partial indexes, which SQLite does not derive from `status = 'paused'`."""
_NEWEST: Final = """SELECT * FROM (
    SELECT run_key, updated_at FROM runs
    WHERE status = '{status}' AND (updated_at, run_key) < (:at, :key) {conditions}
    ORDER BY updated_at DESC, run_key DESC LIMIT :limit)"""
_NEWEST_OF: Final = """
    SELECT run_key, updated_at FROM runs
    WHERE run_key IN (SELECT value FROM json_each(:keys)) AND (updated_at, run_key) < (:at, :key) {conditions}
    ORDER BY updated_at DESC, run_key DESC LIMIT :limit
"""
_RENEW: Final = f"UPDATE runs SET renewed_at = {NOW_MS} WHERE run_key = ? AND fence = ? AND renewed_at IS NOT NULL"


def _after_prefix(prefix: str) -> str:
    """Return the least text, in SQLite's order, after all those that begin with a prefix."""
    return prefix + "\U0010ffff" * 8


class RunReads(Reads):
    """Read `runs` and `leases`."""

    def get_run(self, run_id: str) -> RunRecord | None:
        rows = self._read(f"{SELECT_RUN} WHERE r.run_id = ?", (run_id,))
        return to_run(rows[0], self._cells.get) if rows else None

    def list_runs(
        self, *, limit: int = 100, after: RunRecord | None = None, which: RunFilter = ALL_RUNS
    ) -> list[RunRecord]:
        start = (FOREVER_US, 0) if after is None else (after.updated_at, after.run_key)
        keys = self._few_keys(which)
        values = {
            "limit": limit,
            "at": start[0],
            "key": start[1],
            "program": which.program,
            "prefix": which.prefix,
            "after_prefix": None if which.prefix is None else _after_prefix(which.prefix),
            "text": which.text,
            "keys": None if keys is None else json.dumps(keys),
        }
        conditions = "".join(sql for name, sql in _CONDITIONS.items() if getattr(which, name) is not None)
        if keys is None:
            parts = [
                _NEWEST.format(status=status, conditions=conditions + ("" if status == "running" else _NOT_RUNNING))
                for status in MOVES
                if not which.statuses or status in which.statuses
            ]
            query = f"{' UNION ALL '.join(parts)} ORDER BY updated_at DESC, run_key DESC LIMIT :limit"
        else:
            if which.statuses:
                conditions += " AND status IN (SELECT value FROM json_each(:statuses))"
                values["statuses"] = json.dumps(list(which.statuses))
            query = _NEWEST_OF.format(conditions=conditions)
        with self._file.lock, self._file.named_errors():
            rows: list[tuple[Any, ...]] = self._file.db.execute(query, values).fetchall()
        return self._runs_of([key for key, _ in rows])

    def _few_keys(self, which: RunFilter) -> list[int] | None:
        """Return the runs that match a filter on the id, if they are few; None if they are many, or
        there is no such filter.

        Many are found faster in the order of the list, which ends after a page.
        """
        values: tuple[str, ...]
        if which.prefix is not None:
            where, values = "run_id >= ? AND run_id < ?", (which.prefix, _after_prefix(which.prefix))
        elif which.text is not None:
            where, values = "instr(run_id, ?) > 0", (which.text,)
        else:
            return None
        rows = self._read(f"SELECT run_key FROM runs WHERE {where} LIMIT ?", (*values, _FEW + 1))
        return None if len(rows) > _FEW else [key for (key,) in rows]

    def _runs_of(self, keys: Sequence[int]) -> list[RunRecord]:
        """Return the runs with these keys, in this order."""
        where = "WHERE r.run_key IN (SELECT value FROM json_each(?))"
        found = {row[0]: row for row in self._read(f"{SELECT_RUN} {where}", (json.dumps(list(keys)),))}
        return [to_run(found[key], self._cells.get) for key in keys if key in found]

    def leases(self, run_id: str, *, fences: Sequence[int] | None = None) -> list[LeaseRecord]:
        some = "" if fences is None else "AND fence IN (SELECT value FROM json_each(?2))"
        values = (run_id,) if fences is None else (run_id, json.dumps(list(fences)))
        rows = self._read(f"{SELECT_LEASE} {OF_RUN} {some} ORDER BY fence", values)
        return [to_lease(row, self._cells.get) for row in rows]

    def last_module(self, run_id: str) -> str | None:
        query = f"SELECT module FROM leases {OF_RUN} AND module IS NOT NULL ORDER BY fence DESC LIMIT 1"
        return next((module for (module,) in self._read(query, (run_id,))), None)


class RunWrites(Writes):
    """Write `runs` and `leases`."""

    async def create_run(self, run: NewRun, lease: LeaseRequest) -> Claim | None:
        self._file.announce()
        return await self._write_first(self._create_run, run, lease)

    def _create_run(self, db: apsw.Connection, run: NewRun, lease: LeaseRequest) -> Claim | None:
        state = self._history.full(run.state)
        given = state if run.input == run.state else self._cells.put(run.input, "the input")
        db.execute(
            "INSERT INTO runs (run_id, status, program, state, input, created_at, updated_at, fence, renewed_at,"
            " lease_ms, budget, state_version)"
            f" VALUES (?, 'running', ?, ?, ?, ?, ?, 1, {NOW_MS}, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                run.run_id,
                run.program,
                state,
                given,
                run.at,
                run.at,
                int(lease.lease_s * 1000),
                run.budget,
                run.state_version,
            ),
        )
        if not db.changes():
            return None
        claim = Claim(db.last_insert_rowid(), run.run_id, 1, lease.lease_s)
        self._held.add(claim.run_key)
        self._add_lease(db, claim, lease, 0)
        return claim

    async def claim_run(self, seen: RunRecord, lease: LeaseRequest, *, take_over: bool) -> Claim | None:
        self._file.announce()
        return await self._write_first(self._claim_run, seen, lease, take_over)

    def _claim_run(self, db: apsw.Connection, seen: RunRecord, lease: LeaseRequest, take_over: bool) -> Claim | None:
        claim = Claim(seen.run_key, seen.run_id, seen.fence + 1, lease.lease_s)
        was_lost = seen.status == "running"
        (renewed_at,) = db.execute("SELECT renewed_at FROM runs WHERE run_key = ?", (seen.run_key,)).fetchone() or (0,)
        db.execute(
            f"""UPDATE runs AS r SET fence = fence + 1, status = 'running', renewed_at = {NOW_MS}, lease_ms = ?,
                    error = NULL, request = CASE WHEN status = 'running' THEN request END,
                    due_at = CASE WHEN status = 'waiting' THEN NULL ELSE due_at END, ready_at = NULL,
                    program = ?,
                    crashes = crashes + ?, updated_at = {NOW_MS} * 1000
                WHERE run_key = ? AND fence = ? AND status = ?
                  AND (? OR renewed_at IS NULL OR {LEASE_LEFT_MS} <= 0)""",
            (
                int(lease.lease_s * 1000),
                lease.program or seen.program,
                was_lost,
                seen.run_key,
                seen.fence,
                seen.status,
                take_over,
            ),
        )
        if not db.changes():
            return None
        if was_lost:
            ended_at = (renewed_at or 0) * 1000
            db.execute(
                "UPDATE leases SET ended_at = ?, ended_as = 'lost' WHERE run_key = ? AND fence = ?",
                (ended_at, seen.run_key, seen.fence),
            )
            pid = seen.owner.pid if seen.owner else "?"
            error = ErrorInfo("Interrupted", f"process {pid} disappeared", "interrupted")
            self._add_attempt(
                db,
                claim,
                AttemptRecord(
                    seen.step_index,
                    seen.failures + seen.crashes,
                    "interrupted",
                    None,
                    ended_at,
                    error,
                    None,
                    seen.fence,
                ),
            )
        self._held.add(claim.run_key)
        self._add_lease(db, claim, lease, seen.step_index)
        return claim

    def renew(self, claims: Sequence[Claim]) -> list[Claim]:
        with self._file.heartbeat_lock, self._file.named_errors():
            if self._is_closed:
                return []
            self._file.check_usable()
            db = self._file.heartbeat()
            lost = []
            db.execute("BEGIN IMMEDIATE")  # one transaction, and one sync, for all of them
            try:
                for claim in claims:
                    db.execute(_RENEW, (claim.run_key, claim.fence))
                    if not db.changes():
                        lost.append(claim)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            self._file.examine()
            return lost

    def _add_lease(self, db: apsw.Connection, claim: Claim, lease: LeaseRequest, first_step: int) -> None:
        self._file.check_all_next()
        owner = lease.owner
        db.execute(
            f"""INSERT INTO leases (run_key, fence, machine, pid, process, code, code_at, first_step, module,
                    state_version, taken_at)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, {NOW_MS} * 1000)""",
            (
                claim.run_key,
                claim.fence,
                owner.machine,
                owner.pid,
                owner.process,
                lease.code,
                lease.code_at,
                first_step,
                lease.module,
                lease.state_version,
            ),
        )
