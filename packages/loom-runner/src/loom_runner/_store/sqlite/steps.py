"""Committed steps, and attempts that did not commit, in the SQLite store."""

# ruff: noqa: S608  (the f-strings join constants of this package; values always travel as parameters)
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from loom_runner._model.waits import SETTLED, DecisionWait
from loom_runner._store.cells import MAX_TEXT_BYTES, PLAIN_UP_TO_BYTES
from loom_runner._store.sqlite.approvals import ApprovalWrites
from loom_runner._store.sqlite.base import FOREVER, OF_RUN, STEPS_OF_RUN, Reads
from loom_runner._store.sqlite.readiness import (
    set_ready_at,
    set_ready_at_of_interrupted_run,
    set_ready_at_of_parent,
)
from loom_runner._store.sqlite.retention import RetentionWrites
from loom_runner._store.sqlite.rows import NOW_MS, SELECT_ATTEMPT, SELECT_STEP, SELECT_STEP_BARE, to_attempt, to_step
from loom_runner._store.sqlite.run_tree import RunTreeWrites
from loom_runner.errors import PauseRequested, StepPruned, UnknownRun, UnknownStep, WriteLocked

if TYPE_CHECKING:
    import apsw

    from loom_runner._model.records import AttemptRecord, Claim, StepRecord
    from loom_runner._model.writes import AttemptEnd, StepCommit
    from loom_runner._store.cells import Cell

__all__ = ["StepReads", "StepWrites"]

_SUMS: Final = """
    work_us = work_us + ?,
    slowest_step = CASE WHEN ? <= slowest_us THEN slowest_step ELSE step_index END,
    slowest_us = max(ifnull(slowest_us, 0), ?)
"""
"""All three parameters are the step's duration; the right sides use the old values."""
_CONTINUE: Final = f"""
    UPDATE runs SET step_index = ?, state = ?, updated_at = ?, failures = 0, crashes = 0, wait = ?, due_at = NULL,
        renewed_at = {NOW_MS}, {_SUMS}
    WHERE run_key = ? AND fence = ? AND step_index = ? AND request IS NULL
"""
_END_SLICE: Final = f"""
    UPDATE runs SET step_index = ?, state = coalesce(?, state), updated_at = ?, failures = 0, crashes = 0, wait = ?,
        due_at = ?, status = ?, result = ?, renewed_at = NULL, request = NULL, {_SUMS}
    WHERE run_key = ? AND fence = ? AND step_index = ?
"""
_STEP: Final = """
    INSERT INTO steps (step_key, outcome, attempts, started_at, ended_at, fence, detail, state)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""


class StepReads(Reads):
    """Read `steps` and `attempts`."""

    def steps(self, run_id: str, *, first: int = 0, limit: int = 1000, states: bool = True) -> list[StepRecord]:
        select = f"{SELECT_STEP if states else SELECT_STEP_BARE} {STEPS_OF_RUN} ORDER BY step_key LIMIT ?3"
        with self._file.lock, self._file.named_errors():
            rows: list[tuple[Any, ...]] = self._file.db.execute(select, (run_id, first, limit)).fetchall()
            if not states:
                return [to_step(row, None) for row in rows]
            read = self._history.read(
                self._file.db,
                rows[0][0] if rows else 0,
                ((row[1], row[3]) for row in rows),
                lambda index: f"the state of step {index} of run {run_id!r}",
            )
            found: list[StepRecord] = []
            characters = 0
            for row, (_, state) in zip(rows, read, strict=False):  # a page of large states ends early
                found.append(to_step(row, state))
                characters += len(state or "")
                if characters >= MAX_TEXT_BYTES:
                    break
            return found

    def state_after(self, run_id: str, step_index: int) -> str:
        [(run_key, given, first, end)] = self._read(
            "SELECT run_key, input, first_step, step_index FROM runs WHERE run_id = ?", (run_id,)
        ) or [(None, None, 0, 0)]
        if run_key is None:
            raise UnknownRun(
                f"cannot read a state of {run_id!r}: there is no such run in {self.description}.", run_id=run_id
            )
        if step_index == first - 1 == -1:
            with self._file.lock, self._file.named_errors():
                return self._cells.get(given, f"the input of run {run_id!r}")
        if not first <= step_index < end:
            there = f"its steps are {first} to {end - 1}" if end > first else "it has no steps yet"
            raise UnknownStep(
                f"cannot read step {step_index} of {run_id!r}: {there}.", run_id=run_id, step_index=step_index
            )
        rows = self.steps(run_id, first=step_index, limit=1)
        if not rows or rows[0].step_index != step_index:
            raise self._pruned(run_key, run_id, step_index)
        if rows[0].state is not None:
            return rows[0].state
        # The last step of a run, which did not change the state.
        run = self._read("SELECT state FROM runs WHERE run_key = ?", (run_key,))
        with self._file.lock, self._file.named_errors():
            return self._cells.get(run[0][0], f"the state of run {run_id!r}")

    def _pruned(self, run_key: int, run_id: str, step_index: int) -> StepPruned:
        [(nearest,)] = self._read(
            """SELECT step_index FROM (
                   SELECT * FROM (SELECT step_index FROM steps WHERE step_key < (?1 << 32) | ?2 AND step_key >= ?1 << 32
                       ORDER BY step_key DESC LIMIT 1)
                   UNION ALL
                   SELECT * FROM (SELECT step_index FROM steps WHERE step_key > (?1 << 32) | ?2
                       AND step_key < (?1 + 1) << 32 ORDER BY step_key LIMIT 1))
               ORDER BY abs(step_index - ?2) LIMIT 1""",
            (run_key, step_index),
        ) or [(None,)]
        kept = "No step of it is kept." if nearest is None else f"The nearest step that is kept is {nearest}."
        return StepPruned(
            f"cannot read step {step_index} of {run_id!r}: retention deleted it. {kept}",
            run_id=run_id,
            step_index=step_index,
            nearest=nearest,
        )

    def attempts(
        self, run_id: str, *, first: int = 0, stop: int = FOREVER, limit: int = -1, newest: bool = False
    ) -> list[AttemptRecord]:
        order = ("step_index DESC, attempt DESC, rowid DESC", "step_index, attempt, rowid")[not newest]
        where = f"{OF_RUN} AND step_index >= ?2 AND step_index < ?3 ORDER BY {order} LIMIT ?4"
        rows = self._read(f"{SELECT_ATTEMPT} {where}", (run_id, first, stop, limit))
        if newest:
            rows.reverse()
        return [to_attempt(row, self._cells.get) for row in rows]


class StepWrites(ApprovalWrites, RunTreeWrites, RetentionWrites):
    """Write `steps` and `attempts`."""

    async def commit_step(self, claim: Claim, step: StepCommit) -> None:
        # As `_write` does, without its coroutine: this is done once per step.
        if len(self._held) > 1:
            await self._group.write(False, self._commit_step, claim, step)
            return
        try:
            with self._transaction as db:
                self._commit_step(db, claim, step)
        except WriteLocked:
            await self._group.write(False, self._commit_step, claim, step)

    def _commit_step(self, db: apsw.Connection, claim: Claim, step: StepCommit) -> None:
        key, fence, index = claim.run_key, claim.fence, step.step_index
        wait = None if step.wait is None else json.dumps(step.wait.as_json())
        state = step.state
        whole: Cell | None = state
        cell: Cell | None = state
        # A small state is the usual case and handled first. `next` reads the run's row, so it
        # precedes the update.
        if state is not None and not (len(state) <= PLAIN_UP_TO_BYTES and self._cells.keys is None and state.isascii()):
            whole, cell = self._history.next(db, key, index, state)
        took = step.ended_at - step.started_at
        execute = self._execute
        if step.lease_end is None:
            execute(_CONTINUE, (index + 1, whole, step.ended_at, wait, took, took, took, key, fence, index))
        else:
            execute(
                _END_SLICE,
                (
                    index + 1,
                    whole,
                    step.ended_at,
                    wait,
                    step.due_at,
                    step.status,
                    self._put(step.result, f"the result of run {claim.run_id!r}"),
                    took,
                    took,
                    took,
                    key,
                    fence,
                    index,
                ),
            )
        if db.changes() != 1:
            raise self._refused(db, claim, index)
        execute(
            _STEP,
            ((key << 32) | index, step.outcome, step.attempts, step.started_at, step.ended_at, fence, wait, cell),
        )
        if step.signal_key is not None:
            db.execute("UPDATE signals SET taken_in_step = ? WHERE signal_key = ?", (index, step.signal_key))
        if step.tokens or step.cost_usd:
            self._spend(db, claim, step.tokens, step.cost_usd)
        if step.children:
            self._add_children(db, claim, step.children)
        if step.cancels is not None:
            self._cancel_runs(db, claim.run_id, step.cancels.statuses, step.cancels.error, step.ended_at)
        if step.lease_end is not None:
            self._end_lease(db, claim, step.ended_at, step.lease_end, step.note)
            if step.status == "waiting" and step.wait is not None:
                set_ready_at(db, key, step.wait)
            elif step.lease_end == "interrupted":
                set_ready_at_of_interrupted_run(db, key)
            elif step.status in SETTLED:
                set_ready_at_of_parent(db, key)
        keep = self._keep if step.keep is None else step.keep
        if keep != "all":
            self._apply_keep(db, key, index, keep, is_end=step.lease_end is not None)

    def _refused(self, db: apsw.Connection, claim: Claim, index: int) -> Exception:
        """Return why a step could not be committed: a pause was requested, or the lease is lost."""
        held = db.execute(
            "SELECT request FROM runs WHERE run_key = ? AND fence = ? AND step_index = ?",
            (claim.run_key, claim.fence, index),
        ).fetchone()
        return self._lost(claim) if held is None or held[0] is None else PauseRequested("a pause was requested")

    async def end_attempt(self, claim: Claim, end: AttemptEnd) -> None:
        await self._write(self._end_attempt, claim, end)

    def _end_attempt(self, db: apsw.Connection, claim: Claim, end: AttemptEnd) -> None:
        failed = end.failed
        db.execute(
            f"""UPDATE runs SET status = ?, updated_at = ?, failures = failures + ?, due_at = ?, error = ?,
                    wait = coalesce(?, wait), renewed_at = CASE WHEN ? THEN {NOW_MS} END
                WHERE run_key = ? AND fence = ?""",
            (
                end.status,
                end.at,
                failed is not None,
                end.due_at,
                self._put_error(end.error),
                None if end.wait is None else json.dumps(end.wait.as_json()),
                end.lease_end is None,
                claim.run_key,
                claim.fence,
            ),
        )
        if db.changes() != 1:
            raise self._lost(claim)
        if failed is not None:
            self._add_attempt(db, claim, failed)
        if end.tokens or end.cost_usd:
            self._spend(db, claim, end.tokens, end.cost_usd)
        if end.asks:
            self._add_approvals(db, claim, end.asks)
        if isinstance(end.wait, DecisionWait) and end.wait.doubt is not None:
            db.execute(
                "UPDATE tool_calls SET status = 'in_doubt' WHERE run_key = ? AND ordinal = ?",
                (claim.run_key, end.wait.doubt),
            )
        if end.lease_end is not None:
            self._end_lease(db, claim, end.at, end.lease_end, end.note)
        if end.status == "waiting" and end.wait is not None:
            set_ready_at(db, claim.run_key, end.wait)
        elif end.lease_end == "interrupted":
            set_ready_at_of_interrupted_run(db, claim.run_key)
        elif end.status in SETTLED:
            set_ready_at_of_parent(db, claim.run_key)
