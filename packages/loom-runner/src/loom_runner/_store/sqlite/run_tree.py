"""Child runs, forks, cancelling, pausing, budgets and ready runs in the SQLite store."""

# ruff: noqa: S608  (the f-strings join constants of this package; values always travel as parameters)
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from loom_runner._model.records import Owner, ReadyRun, Spent
from loom_runner._store.sqlite.base import Writes
from loom_runner._store.sqlite.readiness import set_ready_at, set_ready_at_of_parent
from loom_runner._store.sqlite.rows import LEASE_LEFT_MS, SELECT_RUN, to_run
from loom_runner._store.sqlite.runs import RunReads
from loom_runner.errors import RunExists

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import apsw

    from loom_runner._model.records import Claim, ErrorInfo, RunRecord
    from loom_runner._model.statuses import Status
    from loom_runner._model.writes import NewRun

__all__ = ["RunTreeReads", "RunTreeWrites"]

_TREE: Final = """
    WITH RECURSIVE tree(run_key) AS (
        SELECT run_key FROM runs WHERE run_id = ?1
        UNION SELECT r.run_key FROM runs r JOIN tree t ON r.parent_key = t.run_key
    )
"""
"""A run and its descendants; the first parameter is its id."""

_ID: Final = "CAST(run_id AS BLOB)"
"""A damaged id may be no Unicode."""
_READY_OF: Final = f"""
    SELECT * FROM (SELECT run_key, {_ID}, coalesce(due_at, updated_at) AS at FROM runs
        WHERE program = ?1 AND status = 'created' AND status <> 'running' ORDER BY updated_at, run_key LIMIT ?3)
    UNION ALL SELECT * FROM (SELECT run_key, {_ID}, coalesce(due_at, updated_at) AS at FROM runs r
        WHERE program = ?1 AND status = 'running' AND {LEASE_LEFT_MS} <= 0 ORDER BY at, run_key LIMIT ?3)
    UNION ALL SELECT * FROM (SELECT run_key, {_ID}, coalesce(due_at, updated_at) AS at FROM runs
        WHERE program = ?1 AND ready_at <= ?2 AND status IN ('waiting', 'paused') ORDER BY ready_at, run_key LIMIT ?3)
    ORDER BY at, run_key LIMIT ?3
"""
"""The ready runs of program ?1 at time ?2: each part reads at most ?3 rows, through an index. The
terms that say nothing new are those of partial indexes. A paused run with a `ready_at` was
interrupted."""


class RunTreeReads(RunReads):
    """Read runs and their descendants, and which runs are ready."""

    def children(self, run_id: str, *, after: RunRecord | None = None, limit: int = -1) -> list[RunRecord]:
        where = """WHERE r.parent_key = (SELECT run_key FROM runs WHERE run_id = ?) AND r.run_key > ?
            ORDER BY r.run_key LIMIT ?"""
        values = (run_id, 0 if after is None else after.run_key, limit)
        return [to_run(row, self._cells.get) for row in self._read(f"{SELECT_RUN} {where}", values)]

    def statuses(self, run_ids: Sequence[str]) -> dict[str, tuple[Status, int]]:
        rows = self._read(
            "SELECT run_id, status, fence FROM runs WHERE run_id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(run_ids)),),
        )
        return {run_id: (status, fence) for run_id, status, fence in rows}

    def spent_by_descendants(self, run_id: str) -> Spent:
        ((steps, tokens, cost_usd, work_us),) = self._read(
            f"""{_TREE} SELECT coalesce(sum(r.step_index), 0), coalesce(sum(r.spent_tokens), 0),
                    coalesce(sum(r.spent_cost_usd), 0.0), coalesce(sum(r.work_us), 0)
                FROM runs r JOIN tree t ON t.run_key = r.run_key WHERE r.run_id <> ?1""",
            (run_id,),
        )
        return Spent(steps, tokens, cost_usd, work_us / 1_000_000)

    def ready_runs(self, programs: Sequence[str], now: int, *, limit: int = 100) -> list[ReadyRun]:
        rows = [(program, *row) for program in set(programs) for row in self._read(_READY_OF, (program, now, limit))]
        # A damaged time may be a text.
        rows.sort(key=lambda row: (row[3] if isinstance(row[3], int) else 0, row[1]))
        return [ReadyRun(run_id.decode(errors="replace"), program) for program, _, run_id, _ in rows[:limit]]

    def holders(self, programs: Sequence[str]) -> list[tuple[str, str, Owner]]:
        rows = self._read(
            f"""SELECT r.run_id, r.program, l.machine, l.pid, l.process
                FROM runs r JOIN leases l ON l.run_key = r.run_key AND l.fence = r.fence
                WHERE r.program IN (SELECT value FROM json_each(?)) AND r.status = 'running' AND {LEASE_LEFT_MS} > 0
                ORDER BY r.run_key""",
            (json.dumps(list(programs)),),
        )
        return [(run_id, program, Owner(*owner)) for run_id, program, *owner in rows]

    def counts(self) -> dict[str, dict[str, int]]:
        rows = self._read(
            """SELECT 'runs', status, count(*) FROM runs WHERE status <> 'running' GROUP BY status
               UNION ALL SELECT 'runs', status, count(*) FROM runs WHERE status = 'running' GROUP BY status
               UNION ALL SELECT 'tool_calls', status, count(*) FROM tool_calls GROUP BY status
               UNION ALL SELECT 'approvals', status, count(*) FROM approvals GROUP BY status""",
            (),
        )
        found: dict[str, dict[str, int]] = {"runs": {}, "tool_calls": {}, "approvals": {}}
        for what, status, number in rows:
            found[what][status] = number
        return found


class RunTreeWrites(Writes):
    """Write child runs, forks, cancellations, requests to pause, and budgets."""

    def _add_children(self, db: apsw.Connection, claim: Claim, children: Iterable[NewRun]) -> None:
        """Create a step's children, inside its transaction. A child that exists already is not
        created again.
        """
        for child in children:
            if not self._add_run(db, child, "created", claim.run_key):
                (parent,) = db.execute("SELECT parent_key FROM runs WHERE run_id = ?", (child.run_id,)).fetchone() or (
                    None,
                )
                if parent != claim.run_key:
                    raise RunExists(
                        f"cannot start child {child.run_id!r}: a run of this name exists and is not a child of "
                        f"{claim.run_id!r}. Give the child another name.",
                        run_id=child.run_id,
                    )

    def _add_run(self, db: apsw.Connection, run: NewRun, status: Status, parent_key: int | None) -> bool:
        db.execute(
            """INSERT INTO runs (run_id, status, program, state, input, created_at, updated_at, step_index,
                   first_step, wait, due_at, parent_key, forked_from, budget, state_version)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING""",
            (
                run.run_id,
                status,
                run.program,
                self._history.full(run.state),
                self._cells.put(run.input, f"the input of run {run.run_id!r}"),
                run.at,
                run.at,
                run.step_index,
                run.step_index,
                None if run.wait is None else json.dumps(run.wait.as_json()),
                run.due_at,
                parent_key,
                run.forked_from,
                run.budget,
                run.state_version,
            ),
        )
        return bool(db.changes())

    async def add_run(self, run: NewRun) -> bool:
        return await self._write(self._add_root_run, run)

    def _add_root_run(self, db: apsw.Connection, run: NewRun) -> bool:
        if not self._add_run(db, run, "created" if run.wait is None else "waiting", None):
            return False
        if run.wait is not None:
            set_ready_at(db, db.last_insert_rowid(), run.wait)
        return True

    async def cancel_runs(self, run_id: str, statuses: Sequence[Status], error: ErrorInfo, at: int) -> list[str]:
        return await self._write(self._cancel_runs, run_id, statuses, error, at)

    def _cancel_runs(
        self, db: apsw.Connection, run_id: str, statuses: Sequence[Status], error: ErrorInfo, at: int
    ) -> list[str]:
        found = db.execute(
            f"""{_TREE} SELECT r.run_key, r.run_id, r.fence FROM runs r JOIN tree t ON t.run_key = r.run_key
                WHERE r.status IN (SELECT value FROM json_each(?2)) ORDER BY r.run_key""",
            (run_id, json.dumps(list(statuses))),
        ).fetchall()
        for key, _, fence in found:
            db.execute(
                """UPDATE runs SET status = 'cancelled', fence = fence + 1, renewed_at = NULL, request = NULL,
                       due_at = NULL, ready_at = NULL, error = ?, updated_at = ? WHERE run_key = ?""",
                (self._put_error(error), at, key),
            )
            db.execute(
                "UPDATE approvals SET status = 'expired' WHERE run_key = ? AND status IN ('pending', 'approved')",
                (key,),
            )
            db.execute(
                """UPDATE leases SET ended_at = ?, ended_as = 'cancelled', note = ?
                   WHERE run_key = ? AND fence = ? AND ended_at IS NULL""",
                (at, self._put(error.message, "a note"), key, fence),
            )
        root = db.execute("SELECT run_key FROM runs WHERE run_id = ?", (run_id,)).get
        if found and root is not None:
            set_ready_at_of_parent(db, root)
        return [str(each_id) for _, each_id, _ in found]

    async def request_pause(self, run_id: str, at: int) -> list[str]:
        return await self._write(self._request_pause, run_id, at)

    def _request_pause(self, db: apsw.Connection, run_id: str, at: int) -> list[str]:
        found = db.execute(
            f"""{_TREE} UPDATE runs SET updated_at = ?2,
                    request = CASE status WHEN 'running' THEN 'pause' END,
                    status = CASE status WHEN 'running' THEN 'running' ELSE 'paused' END
                WHERE run_key IN tree AND status IN ('created', 'running') RETURNING run_id""",
            (run_id, at),
        ).fetchall()
        return [str(each_id) for (each_id,) in found]

    async def set_budget(self, run_id: str, budget: str) -> None:
        await self._write(self._set_budget, run_id, budget)

    def _set_budget(self, db: apsw.Connection, run_id: str, budget: str) -> None:
        db.execute("UPDATE runs SET budget = ? WHERE run_id = ?", (budget, run_id))

    def _spend(self, db: apsw.Connection, claim: Claim, tokens: int, cost_usd: float) -> None:
        """Add to what the run has spent, inside the transaction that ends an attempt."""
        db.execute(
            "UPDATE runs SET spent_tokens = spent_tokens + ?, spent_cost_usd = spent_cost_usd + ? WHERE run_key = ?",
            (tokens, cost_usd, claim.run_key),
        )

    async def replace_state(self, claim: Claim, state: str, version: int) -> None:
        await self._write(self._replace_state, claim, state, version)

    def _replace_state(self, db: apsw.Connection, claim: Claim, state: str, version: int) -> None:
        self._renew_lease(db, claim)
        whole = self._history.full(state)
        db.execute("UPDATE runs SET state = ?, state_version = ? WHERE run_key = ?", (whole, version, claim.run_key))
