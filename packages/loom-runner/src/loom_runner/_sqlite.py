"""The SQLite store. Theory of operation:

*Who may write.* Every write statement of a run says `WHERE run_key = ? AND fence = ?`. Claiming a run adds one to
its fence, in a transaction, so of all processes that ever believed to hold the run only the latest can change a
row; the others change none, see it by the count of changed rows, roll back and raise `LeaseLost`. Lease times come
from the database's clock (`unixepoch`), never from the caller's, and every write of the holder prolongs its lease
at no price.

*Transactions.* A write transaction is `BEGIN IMMEDIATE` ... `COMMIT`, so it never has to upgrade a read (SQLite
answers that with an error that waiting cannot heal). Nothing is awaited while one is open. Reads fetch all their
rows at once.

*Durability.* `power`: WAL with `synchronous=FULL`, one sync per commit; the database is made with `EXTRA` before it
is switched to WAL, because otherwise a power cut can bring the rollback journal of that switch back and undo later
commits. `process`: WAL with `NORMAL`, which survives kill -9 but not the loss of power. `memory`: no file at all.
What was asked for is read back.

*Connections.* One for the driver, under a lock, and one for the heartbeat's thread, made when it first beats. apsw
brings its own SQLite, because those of the systems at hand carry a bug that can damage a WAL database with several
writers (fixed in 3.51.3).

*Not covered.* Network file systems; use across `fork()`: open a store after it.
"""

# ruff: noqa: S608  (the f-strings join constants of this package; values always travel as parameters)
from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any, Final, Self

from loom_runner._errors import LeaseLost, UnknownRun
from loom_runner._records import (
    AttemptEnd,
    AttemptRecord,
    Claim,
    ErrorInfo,
    LeaseRecord,
    LeaseRequest,
    NewRun,
    RunRecord,
    SignalRecord,
    StepCommit,
    StepRecord,
    ToolEnd,
    ToolRecord,
    ToolStart,
    ToolTry,
)
from loom_runner._sqlite_file import Durability, SQLiteFile
from loom_runner._sqlite_rows import (
    NOW_MS,
    SELECT_ATTEMPT,
    SELECT_LEASE,
    SELECT_RUN,
    SELECT_SIGNAL,
    SELECT_STEP,
    SELECT_TOOL,
    SELECT_TRY,
    error_text,
    to_attempt,
    to_lease,
    to_run,
    to_signal,
    to_step,
    to_tool,
    to_try,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import apsw

__all__ = ["SQLiteStore"]

_STEP_GOES_ON: Final = f"""
    UPDATE runs SET step_index = ?, state = ?, updated_at = ?, failures = 0, crashes = 0, wait = ?, due_at = NULL,
        renewed_at = {NOW_MS}
    WHERE run_key = ? AND fence = ? AND step_index = ?
"""
_STEP_ENDS: Final = """
    UPDATE runs SET step_index = ?, state = coalesce(?, state), updated_at = ?, failures = 0, crashes = 0, wait = ?,
        due_at = ?, status = ?, result = ?, renewed_at = NULL
    WHERE run_key = ? AND fence = ? AND step_index = ?
"""
_OF_RUN: Final = "WHERE run_key = (SELECT run_key FROM runs WHERE run_id = ?1)"
_STEP: Final = """
    INSERT INTO steps (run_key, step_index, outcome, attempts, started_at, ended_at, fence, detail, state)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_START_TOOL: Final = """
    INSERT INTO tool_calls (run_key, step_index, key, name, status, started_at, fence, arguments_hash, arguments)
    VALUES (?, ?, ?, ?, 'started', ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""


class SQLiteStore:
    """Keep runs in one SQLite file.

    Args:
        path: The file; it is made when it is missing. `:memory:` is a database without a file.
        durability: What a returned write survives: `power` (the loss of power), `process` (kill -9 of this process)
            or
            `memory` (nothing).
        read_only: Open an existing file without the right to change it.

    Raises:
        StoreUnreadable: The path is a directory, not a database of this package, or cannot be opened.
        StoreReadOnly: The file cannot be written to.
        StoreTooNew: A later version of the package wrote it.

    Durability: with `power` (the default) a write that returned is on disk; with `process` it is with the operating
    system.
    """

    def __init__(self, path: str | Path, durability: Durability = "power", *, read_only: bool = False) -> None:
        self._file = SQLiteFile(str(path), durability, read_only=read_only)
        self._transaction = self._file.transaction
        self._heartbeat: apsw.Connection | None = None
        self._beating = threading.Lock()
        self._is_closed = False

    @property
    def description(self) -> str:
        return self._file.path

    @property
    def durability(self) -> Durability:
        """What a returned write survives, as the database confirmed it."""
        return self._file.durability

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` inside every write transaction of this store, when only its COMMIT is left to do."""

        def hook() -> bool:
            listener()
            return False

        self._file.db.set_commit_hook(hook)

    def close(self) -> None:
        with self._file.lock, self._beating:
            self._is_closed = True
            self._file.db.close()
            if self._heartbeat is not None:
                self._heartbeat.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------ writes

    async def create_run(self, run: NewRun, lease: LeaseRequest) -> Claim | None:
        with self._transaction as db:
            db.execute(
                "INSERT INTO runs (run_id, status, program, state, input, created_at, updated_at, fence, renewed_at,"
                f" lease_ms) VALUES (?, 'running', ?, ?, ?, ?, ?, 1, {NOW_MS}, ?) ON CONFLICT DO NOTHING",
                (run.run_id, run.program, run.state, run.input, run.at, run.at, int(lease.lease_s * 1000)),
            )
            if not db.changes():
                return None
            claim = Claim(db.last_insert_rowid(), run.run_id, 1, lease.lease_s)
            self._add_lease(db, claim, lease, 0)
            return claim

    async def claim_run(self, seen: RunRecord, lease: LeaseRequest, *, take_over: bool) -> Claim | None:
        claim = Claim(seen.run_key, seen.run_id, seen.fence + 1, lease.lease_s)
        was_lost = seen.status == "running"
        with self._transaction as db:
            (renewed_at,) = db.execute("SELECT renewed_at FROM runs WHERE run_key = ?", (seen.run_key,)).fetchone() or (
                0,
            )
            db.execute(
                f"""UPDATE runs SET fence = fence + 1, status = 'running', renewed_at = {NOW_MS}, lease_ms = ?,
                        error = NULL,
                        crashes = crashes + ?, updated_at = {NOW_MS} * 1000
                    WHERE run_key = ? AND fence = ? AND status = ?
                      AND (? OR renewed_at IS NULL OR renewed_at + lease_ms <= {NOW_MS})""",
                (int(lease.lease_s * 1000), was_lost, seen.run_key, seen.fence, seen.status, take_over),
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
            self._add_lease(db, claim, lease, seen.step_index)
            return claim

    def renew(self, claims: Sequence[Claim]) -> list[Claim]:
        with self._beating, self._file.named_errors():
            if self._is_closed:
                return []
            if self._heartbeat is None:
                self._heartbeat = self._file.second()
            db = self._heartbeat
            lost = []
            for claim in claims:
                db.execute(
                    f"UPDATE runs SET renewed_at = {NOW_MS} WHERE run_key = ? AND fence = ? AND renewed_at IS NOT NULL",
                    (claim.run_key, claim.fence),
                )
                if not db.changes():
                    lost.append(claim)
            return lost

    async def commit_step(self, claim: Claim, step: StepCommit) -> None:
        key, fence, index = claim.run_key, claim.fence, step.step_index
        wait = None if step.wait is None else json.dumps(step.wait)
        with self._transaction as db:
            if step.lease_end is None:
                db.execute(_STEP_GOES_ON, (index + 1, step.state, step.ended_at, wait, key, fence, index))
            else:
                db.execute(
                    _STEP_ENDS,
                    (
                        index + 1,
                        step.state,
                        step.ended_at,
                        wait,
                        step.due_at,
                        step.status,
                        step.result,
                        key,
                        fence,
                        index,
                    ),
                )
            if db.changes() != 1:
                raise self._lost(claim)
            db.execute(
                _STEP,
                (key, index, step.outcome, step.attempts, step.started_at, step.ended_at, fence, wait, step.state),
            )
            if step.signal_key is not None:
                db.execute("UPDATE signals SET taken_in_step = ? WHERE signal_key = ?", (index, step.signal_key))
            if step.lease_end is not None:
                self._end_lease(db, claim, step.ended_at, step.lease_end, step.note)

    async def end_attempt(self, claim: Claim, end: AttemptEnd) -> None:
        failed = end.failed
        with self._transaction as db:
            db.execute(
                f"""UPDATE runs SET status = ?, updated_at = ?, failures = failures + ?, due_at = ?, error = ?,
                        wait = coalesce(?, wait), renewed_at = CASE WHEN ? THEN {NOW_MS} END
                    WHERE run_key = ? AND fence = ?""",
                (
                    end.status,
                    end.at,
                    failed is not None,
                    end.due_at,
                    error_text(end.error),
                    None if end.wait is None else json.dumps(end.wait),
                    end.lease_end is None,
                    claim.run_key,
                    claim.fence,
                ),
            )
            if db.changes() != 1:
                raise self._lost(claim)
            if failed is not None:
                self._add_attempt(db, claim, failed)
            if end.wait is not None and "doubt" in end.wait:
                db.execute("UPDATE tool_calls SET status = 'in_doubt' WHERE number = ?", (end.wait["doubt"],))
            if end.lease_end is not None:
                self._end_lease(db, claim, end.at, end.lease_end, end.note)

    async def start_tool(self, claim: Claim, call: ToolStart) -> ToolRecord | None:
        with self._transaction as db:
            self._hold(db, claim)
            db.execute(
                _START_TOOL,
                (
                    claim.run_key,
                    call.step_index,
                    call.key,
                    call.name,
                    call.at,
                    claim.fence,
                    call.arguments_hash,
                    call.arguments,
                ),
            )
            if db.changes():
                return None
            row = db.execute(
                f"{SELECT_TOOL} WHERE t.run_key = ? AND t.step_index = ? AND t.key = ?",
                (claim.run_key, call.step_index, call.key),
            ).fetchone()
            return to_tool(row or ())

    async def restart_tool(self, claim: Claim, call: ToolStart) -> None:
        with self._transaction as db:
            self._hold(db, claim)
            db.execute(
                """INSERT INTO tool_tries SELECT number, tries, status, started_at, ended_at, fence, error
                   FROM tool_calls WHERE run_key = ? AND step_index = ? AND key = ?""",
                (claim.run_key, call.step_index, call.key),
            )
            db.execute(
                """UPDATE tool_calls SET status = 'started', tries = tries + 1, started_at = ?, ended_at = NULL,
                fence = ?,
                       error = NULL, retryable = 0
                   WHERE run_key = ? AND step_index = ? AND key = ?""",
                (call.at, claim.fence, claim.run_key, call.step_index, call.key),
            )

    async def end_tool(self, claim: Claim, step_index: int, key: str, end: ToolEnd) -> None:
        with self._transaction as db:
            self._hold(db, claim)
            db.execute(
                """UPDATE tool_calls SET status = ?, ended_at = ?, result = ?, error = ?, retryable = ?
                   WHERE run_key = ? AND step_index = ? AND key = ? AND status = 'started'""",
                (
                    end.status,
                    end.at,
                    end.result,
                    error_text(end.error),
                    end.retryable,
                    claim.run_key,
                    step_index,
                    key,
                ),
            )
            if db.changes() != 1:  # somebody decided about the call while this process seemed to be gone
                raise self._lost(claim)

    async def decide_tool(self, seen: ToolRecord, end: ToolEnd, decided_by: str) -> bool:
        with self._transaction as db:
            db.execute(
                """UPDATE tool_calls SET status = ?, ended_at = ?, result = ?, error = ?, retryable = ?, decided_by = ?
                   WHERE number = ? AND status = ? AND fence = ? AND tries = ?""",
                (
                    end.status,
                    end.at,
                    end.result,
                    error_text(end.error),
                    end.retryable,
                    decided_by,
                    seen.number,
                    seen.status,
                    seen.fence,
                    seen.tries,
                ),
            )
            return bool(db.changes())

    async def send_signal(self, run_id: str, name: str, payload: str, at: int) -> None:
        with self._transaction as db:
            db.execute(
                """INSERT INTO signals (run_key, name, payload, sent_at)
                   SELECT run_key, ?, ?, ? FROM runs WHERE run_id = ?""",
                (name, payload, at, run_id),
            )
            if not db.changes():
                raise UnknownRun(
                    f"cannot signal {run_id!r}: there is no such run in {self.description}.", run_id=run_id
                )

    # ------------------------------------------------------------------ reads

    def get_run(self, run_id: str) -> RunRecord | None:
        rows = self._read(f"{SELECT_RUN} WHERE r.run_id = ?", (run_id,))
        return to_run(rows[0]) if rows else None

    def list_runs(self, *, limit: int = 100, after: RunRecord | None = None) -> list[RunRecord]:
        page = "WHERE (r.updated_at, r.run_key) < (?, ?)" if after else ""
        start = (after.updated_at, after.run_key) if after else ()
        rows = self._read(f"{SELECT_RUN} {page} ORDER BY r.updated_at DESC, r.run_key DESC LIMIT ?", (*start, limit))
        return [to_run(row) for row in rows]

    def steps(self, run_id: str, *, first: int = 0, limit: int = 1000) -> list[StepRecord]:
        where = f"{_OF_RUN} AND step_index >= ? ORDER BY step_index LIMIT ?"
        return [to_step(row) for row in self._read(f"{SELECT_STEP} {where}", (run_id, first, limit))]

    def attempts(self, run_id: str) -> list[AttemptRecord]:
        where = f"{_OF_RUN} ORDER BY step_index, attempt, rowid"
        return [to_attempt(row) for row in self._read(f"{SELECT_ATTEMPT} {where}", (run_id,))]

    def tool_calls(self, run_id: str | None = None, *, open_only: bool = False) -> list[ToolRecord]:
        where = "WHERE (?1 IS NULL OR r.run_id = ?1)"
        if open_only:
            where += " AND t.status IN ('started', 'in_doubt')"
        return [to_tool(row) for row in self._read(f"{SELECT_TOOL} {where} ORDER BY t.number", (run_id,))]

    def tool_tries(self, run_id: str) -> list[ToolTry]:
        rows = self._read(f"{SELECT_TRY} {_OF_RUN} ORDER BY y.number, y.try", (run_id,))
        return [to_try(row) for row in rows]

    def leases(self, run_id: str) -> list[LeaseRecord]:
        return [to_lease(row) for row in self._read(f"{SELECT_LEASE} {_OF_RUN} ORDER BY fence", (run_id,))]

    def signals(self, run_id: str, *, name: str | None = None) -> list[SignalRecord]:
        where = f"{_OF_RUN} AND (?2 IS NULL OR name = ?2 AND taken_in_step IS NULL) ORDER BY signal_key"
        return [to_signal(row) for row in self._read(f"{SELECT_SIGNAL} {where}", (run_id, name))]

    # ------------------------------------------------------------------ inside

    def _read(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with self._file.lock, self._file.named_errors():
            return self._file.db.execute(sql, values).fetchall()

    def _hold(self, db: apsw.Connection, claim: Claim) -> None:
        """Prolong the lease inside an open transaction; LeaseLost when it is not ours."""
        db.execute(
            f"UPDATE runs SET renewed_at = {NOW_MS} WHERE run_key = ? AND fence = ?", (claim.run_key, claim.fence)
        )
        if db.changes() != 1:
            raise self._lost(claim)

    @staticmethod
    def _lost(claim: Claim) -> LeaseLost:
        return LeaseLost(
            f"cannot go on with {claim.run_id!r}: another process took the run over (this one held "
            f"fence {claim.fence}). Nothing was written; look with loom-runner explain.",
            run_id=claim.run_id,
        )

    @staticmethod
    def _add_lease(db: apsw.Connection, claim: Claim, lease: LeaseRequest, first_step: int) -> None:
        owner = lease.owner
        db.execute(
            f"""INSERT INTO leases (run_key, fence, machine, pid, process, code, code_at, first_step, taken_at)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, {NOW_MS} * 1000)""",
            (
                claim.run_key,
                claim.fence,
                owner.machine,
                owner.pid,
                owner.process,
                lease.code,
                lease.code_at,
                first_step,
            ),
        )

    @staticmethod
    def _end_lease(db: apsw.Connection, claim: Claim, at: int, ended_as: str, note: str | None) -> None:
        db.execute(
            "UPDATE leases SET ended_at = ?, ended_as = ?, note = ? WHERE run_key = ? AND fence = ?",
            (at, ended_as, note, claim.run_key, claim.fence),
        )

    @staticmethod
    def _add_attempt(db: apsw.Connection, claim: Claim, attempt: AttemptRecord) -> None:
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
                error_text(attempt.error),
            ),
        )
