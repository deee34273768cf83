"""The SQLite store. Theory of operation:

*Who may write.* Every write statement of a run says `WHERE run_key = ? AND fence = ?`. Claiming a run adds one to its fence, in a
transaction, so of all processes that ever believed to hold the run only the latest can change a row; the others change none, see it
by the count of changed rows, roll back and raise `LeaseLost`. Lease times come from the database's clock (`unixepoch`), never from the
caller's, and every write of the holder prolongs its lease at no price.

*Transactions.* A write transaction is `BEGIN IMMEDIATE` ... `COMMIT`, so it never has to upgrade a read (SQLite answers that with an error that
waiting cannot heal). Nothing is awaited while one is open. Reads fetch all their rows at once.

*Durability.* `power`: WAL with `synchronous=FULL`, one sync per commit; the database is made with `EXTRA` before it is switched to WAL, because
otherwise a power cut can bring the rollback journal of that switch back and undo later commits. `process`: WAL with `NORMAL`,
which survives kill -9 but not the loss of power. `memory`: no file at all. What was asked for is read back.

*Connections.* One for the driver, under a lock, and one for the heartbeat's thread, made when it first beats. apsw brings its own
SQLite, because those of the systems at hand carry a bug that can damage a WAL database with several writers (fixed in 3.51.3).

*Not covered.* Network file systems; use across `fork()`: open a store after it.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast, get_args

from loom_runner._errors import (
    LeaseLost,
    StoreBusy,
    StoreError,
    StoreReadOnly,
    StoreTooNew,
    StoreUnreadable,
    UnknownRun,
    UsageError,
)
from loom_runner._records import (
    AttemptEnd,
    AttemptRecord,
    Claim,
    ErrorInfo,
    LeaseRecord,
    LeaseRequest,
    NewRun,
    Owner,
    RunRecord,
    SignalRecord,
    StepCommit,
    StepRecord,
    ToolEnd,
    ToolRecord,
    ToolStart,
)
from loom_runner._schema import APPLICATION_ID, MIGRATIONS

if TYPE_CHECKING:
    import apsw

__all__ = ["Durability", "SQLiteStore"]

Durability = Literal["power", "process", "memory"]
"""What a returned write survives: the loss of power, the death of the process, or nothing."""

_SYNCHRONOUS: Final[dict[Durability, tuple[str, int]]] = {"power": ("FULL", 2), "process": ("NORMAL", 1)}
_WAIT_FOR_WRITERS_S: Final = 30.0
_memory_names = itertools.count()

_NOW_MS: Final = "CAST(unixepoch('subsec') * 1000 AS INTEGER)"

_RUN: Final = f"""
    SELECT r.run_key, r.run_id, r.status, r.program, r.step_index, r.failures, r.crashes, r.due_at, r.state, r.input, r.result,
           r.error, r.wait, r.fence, r.renewed_at, l.machine, l.pid, l.process,
           r.renewed_at + r.lease_ms - {_NOW_MS}, r.created_at, r.updated_at
    FROM runs r LEFT JOIN leases l ON l.run_key = r.run_key AND l.fence = r.fence
"""
_TOOL: Final = f"""
    SELECT t.number, r.run_id, t.step_index, t.key, t.name, t.arguments, t.arguments_hash, t.status, t.tries, t.result, t.error,
           t.retryable, t.started_at, t.ended_at, t.fence,
           t.fence = r.fence AND r.renewed_at IS NOT NULL AND r.renewed_at + r.lease_ms > {_NOW_MS}, t.decided_by
    FROM tool_calls t JOIN runs r ON r.run_key = t.run_key
"""
_STEP_GOES_ON: Final = f"""
    UPDATE runs SET step_index = ?, state = ?, updated_at = ?, failures = 0, crashes = 0, wait = ?, due_at = NULL,
        renewed_at = {_NOW_MS}
    WHERE run_key = ? AND fence = ? AND step_index = ?
"""
_STEP_ENDS: Final = """
    UPDATE runs SET step_index = ?, state = coalesce(?, state), updated_at = ?, failures = 0, crashes = 0, wait = ?, due_at = ?,
        status = ?, result = ?, renewed_at = NULL
    WHERE run_key = ? AND fence = ? AND step_index = ?
"""
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
        durability: What a returned write survives: `power` (the loss of power), `process` (kill -9 of this process) or `memory` (nothing).
        read_only: Open an existing file without the right to change it.

    Raises:
        StoreUnreadable: The path is a directory, not a database of this package, or cannot be opened.
        StoreReadOnly: The file cannot be written to.
        StoreTooNew: A later version of the package wrote it.

    Durability: with `power` (the default) a write that returned is on disk; with `process` it is with the operating system.
    """

    def __init__(self, path: str | Path, durability: Durability = "power", *, read_only: bool = False) -> None:
        if durability not in get_args(Durability):
            raise UsageError(
                f"cannot open a store with durability {durability!r}: it is one of power, process, memory."
            )
        self._in_memory = durability == "memory" or str(path) == ":memory:"
        self.durability: Durability = "memory" if self._in_memory else durability
        self.path = str(path)
        self._read_only = read_only
        self._lock = threading.RLock()
        self._heartbeat: apsw.Connection | None = None
        # The name that this process's connections share when there is no file (SQLite's memdb).
        self._target = f"file:/loom-{id(self)}-{next(_memory_names)}?vfs=memdb" if self._in_memory else self.path
        with _named_errors(self):
            self._db = self._open()
        self._transaction = _Transaction(self, self._db)

    @property
    def description(self) -> str:
        return self.path

    def close(self) -> None:
        with self._lock:
            self._db.close()
            if self._heartbeat is not None:
                self._heartbeat.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------ opening

    def _open(self) -> apsw.Connection:
        if not self._in_memory:
            file = Path(self.path)
            if file.is_dir():
                raise StoreUnreadable(f"cannot open {self.path}: it is a directory. Name a file in it.")
            if self._read_only and not file.exists():
                raise StoreUnreadable(f"cannot open {self.path}: there is no such file.")
            if not file.parent.is_dir():
                raise StoreUnreadable(f"cannot open {self.path}: there is no folder {file.parent}. Make it first.")
        db = self._connect()
        try:
            version = int(db.pragma("user_version"))
            if version > len(MIGRATIONS):
                raise StoreTooNew(
                    f"cannot open {self.path}: its format is {version} and this loom-runner reads up to {len(MIGRATIONS)}. "
                    "Upgrade loom-runner."
                )
            if version and db.pragma("application_id") != APPLICATION_ID:
                raise StoreUnreadable(f"cannot open {self.path}: it is another program's database. Name another file.")
            if not self._read_only:
                self._prepare(db, version)
            elif version < len(MIGRATIONS):
                raise StoreUnreadable(
                    f"cannot read {self.path}: its format is {version}, older than {len(MIGRATIONS)}. "
                    "Run or resume something with it once."
                )
        except BaseException:
            db.close()
            raise
        return db

    def _connect(self) -> apsw.Connection:
        import apsw  # noqa: PLC0415  (kept out of `--help`)

        flags = apsw.SQLITE_OPEN_READONLY if self._read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        db = apsw.Connection(self._target, flags=flags | (apsw.SQLITE_OPEN_URI if self._in_memory else 0))
        db.set_busy_timeout(int(_WAIT_FOR_WRITERS_S * 1000))
        if self._read_only:
            try:
                db.pragma("user_version")
            except (apsw.CantOpenError, apsw.ReadOnlyError):
                # A WAL database on a medium that cannot hold its side files: nobody can be writing to it.
                db.close()
                uri = f"{Path(self.path).resolve().as_uri()}?immutable=1"
                db = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        return db

    def _prepare(self, db: apsw.Connection, version: int) -> None:
        """Make or migrate the tables, and set and read back the durability."""
        if version == 0:
            if db.execute("SELECT count(*) FROM sqlite_schema").get and db.pragma("application_id") != APPLICATION_ID:
                raise StoreUnreadable(f"cannot open {self.path}: it is another program's database. Name another file.")
            if not self._in_memory:
                db.pragma("synchronous", "EXTRA")
                db.pragma("auto_vacuum", 2)
                self._switch_to_wal(db)
        if version < len(MIGRATIONS):
            db.execute("BEGIN IMMEDIATE")
            # Another process may have done it since: look again, now that nobody else can write.
            version = int(db.pragma("user_version"))
            for number, migration in enumerate(MIGRATIONS[version:], start=version + 1):
                db.execute(migration)
                db.pragma("user_version", number)
            db.pragma("application_id", APPLICATION_ID)
            db.execute("COMMIT")
        else:
            # Shows a file that cannot be written to now, not in the middle of a run.
            db.execute("BEGIN IMMEDIATE")
            db.execute("ROLLBACK")
        self._set_synchronous(db)

    def _switch_to_wal(self, db: apsw.Connection) -> None:
        import apsw  # noqa: PLC0415

        deadline = time.monotonic() + _WAIT_FOR_WRITERS_S
        while True:  # SQLite does not wait here by itself when another process makes the same switch
            try:
                mode = db.pragma("journal_mode", "wal")
                break
            except apsw.BusyError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
        if mode != "wal":
            raise StoreUnreadable(
                f"cannot make {self.path} durable: its file system offers no write-ahead log ({mode}). Use a local disk."
            )

    def _set_synchronous(self, db: apsw.Connection) -> None:
        if self._in_memory:
            return
        self._switch_to_wal(db)
        name, number = _SYNCHRONOUS[self.durability]
        db.pragma("synchronous", name)
        got = db.pragma("synchronous")
        if got != number:
            raise StoreUnreadable(f"cannot make {self.path} durable: asked for synchronous {number}, got {got}.")

    # ------------------------------------------------------------------ writes

    async def create_run(self, run: NewRun, lease: LeaseRequest) -> Claim | None:
        with self._transaction as db:
            db.execute(
                "INSERT INTO runs (run_id, status, program, state, input, created_at, updated_at, fence, renewed_at, lease_ms)"
                f" VALUES (?, 'running', ?, ?, ?, ?, ?, 1, {_NOW_MS}, ?) ON CONFLICT DO NOTHING",
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
                f"""UPDATE runs SET fence = fence + 1, status = 'running', renewed_at = {_NOW_MS}, lease_ms = ?, error = NULL,
                        crashes = crashes + ?, updated_at = {_NOW_MS} * 1000
                    WHERE run_key = ? AND fence = ? AND status = ?
                      AND (? OR renewed_at IS NULL OR renewed_at + lease_ms <= {_NOW_MS})""",
                (int(lease.lease_s * 1000), was_lost, seen.run_key, seen.fence, seen.status, take_over),
            )
            if not db.changes():
                return None
            if was_lost:
                ended_at = (renewed_at or 0) * 1000
                db.execute(
                    "UPDATE leases SET ended_at = ?, ended_as = 'lost' WHERE run_key = ? AND fence = ? AND ended_at IS NULL",
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
        with _named_errors(self):
            if self._heartbeat is None:
                self._heartbeat = self._connect()
                self._set_synchronous(self._heartbeat)
            db = self._heartbeat
            lost = []
            for claim in claims:
                db.execute(
                    f"UPDATE runs SET renewed_at = {_NOW_MS} WHERE run_key = ? AND fence = ? AND renewed_at IS NOT NULL",
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
                        wait = coalesce(?, wait), renewed_at = CASE WHEN ? THEN {_NOW_MS} END
                    WHERE run_key = ? AND fence = ?""",
                (
                    end.status,
                    end.at,
                    failed is not None,
                    end.due_at,
                    _error_text(end.error),
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
                f"{_TOOL} WHERE t.run_key = ? AND t.step_index = ? AND t.key = ?",
                (claim.run_key, call.step_index, call.key),
            ).fetchone()
            return _tool(cast("tuple[Any, ...]", row))

    async def restart_tool(self, claim: Claim, call: ToolStart) -> None:
        with self._transaction as db:
            self._hold(db, claim)
            db.execute(
                """UPDATE tool_calls SET status = 'started', tries = tries + 1, started_at = ?, ended_at = NULL, fence = ?,
                       error = NULL, retryable = 0
                   WHERE run_key = ? AND step_index = ? AND key = ?""",
                (call.at, claim.fence, claim.run_key, call.step_index, call.key),
            )

    async def end_tool(self, claim: Claim, step_index: int, key: str, end: ToolEnd) -> None:
        with self._transaction as db:
            self._hold(db, claim)
            db.execute(
                """UPDATE tool_calls SET status = ?, ended_at = ?, result = ?, error = ?, retryable = ?
                   WHERE run_key = ? AND step_index = ? AND key = ?""",
                (
                    end.status,
                    end.at,
                    end.result,
                    _error_text(end.error),
                    end.retryable,
                    claim.run_key,
                    step_index,
                    key,
                ),
            )

    async def decide_tool(self, run_id: str, number: int, end: ToolEnd, decided_by: str) -> bool:
        with self._transaction as db:
            row = db.execute(f"{_TOOL} WHERE r.run_id = ? AND t.number = ?", (run_id, number)).fetchone()
            if row is None or not _tool(row).is_in_doubt:
                return False
            db.execute(
                """UPDATE tool_calls SET status = ?, ended_at = ?, result = ?, error = ?, retryable = ?, decided_by = ?
                   WHERE number = ?""",
                (end.status, end.at, end.result, _error_text(end.error), end.retryable, decided_by, number),
            )
            return True

    async def send_signal(self, run_id: str, name: str, payload: str, at: int) -> None:
        with self._transaction as db:
            db.execute(
                """INSERT INTO signals (run_key, name, payload, sent_at)
                   SELECT run_key, ?, ?, ? FROM runs WHERE run_id = ?""",
                (name, payload, at, run_id),
            )
            if not db.changes():
                raise UnknownRun(f"cannot signal {run_id!r}: there is no such run in {self.path}.", run_id=run_id)

    # ------------------------------------------------------------------ reads

    def get_run(self, run_id: str) -> RunRecord | None:
        rows = self._read(f"{_RUN} WHERE r.run_id = ?", (run_id,))
        return _run(rows[0]) if rows else None

    def list_runs(self, *, limit: int = 100, after: RunRecord | None = None) -> list[RunRecord]:
        page = "WHERE (r.updated_at, r.run_key) < (?, ?)" if after else ""
        start = (after.updated_at, after.run_key) if after else ()
        rows = self._read(f"{_RUN} {page} ORDER BY r.updated_at DESC, r.run_key DESC LIMIT ?", (*start, limit))
        return [_run(row) for row in rows]

    def steps(self, run_id: str, *, first: int = 0, limit: int = 1000) -> list[StepRecord]:
        rows = self._read(
            """SELECT step_index, outcome, state, detail, attempts, started_at, ended_at, fence FROM steps
               WHERE run_key = (SELECT run_key FROM runs WHERE run_id = ?) AND step_index >= ? ORDER BY step_index LIMIT ?""",
            (run_id, first, limit),
        )
        return [StepRecord(*row[:3], _json_or_none(row[3]), *row[4:]) for row in rows]

    def attempts(self, run_id: str) -> list[AttemptRecord]:
        rows = self._read(
            """SELECT step_index, attempt, kind, started_at, ended_at, error, retry_at, fence FROM attempts
               WHERE run_key = (SELECT run_key FROM runs WHERE run_id = ?) ORDER BY step_index, attempt, rowid""",
            (run_id,),
        )
        return [AttemptRecord(*row[:5], ErrorInfo.from_json(json.loads(row[5])), *row[6:]) for row in rows]

    def tool_calls(self, run_id: str | None = None, *, in_doubt: bool = False) -> list[ToolRecord]:
        where, values = ["1"], []
        if run_id is not None:
            where.append("r.run_id = ?")
            values.append(run_id)
        if in_doubt:
            where.append("t.status IN ('started', 'in_doubt')")
        rows = self._read(f"{_TOOL} WHERE {' AND '.join(where)} ORDER BY t.number", tuple(values))
        return [call for call in map(_tool, rows) if call.is_in_doubt or not in_doubt]

    def leases(self, run_id: str) -> list[LeaseRecord]:
        rows = self._read(
            """SELECT fence, machine, pid, process, code, code_at, first_step, taken_at, ended_at, ended_as, note FROM leases
               WHERE run_key = (SELECT run_key FROM runs WHERE run_id = ?) ORDER BY fence""",
            (run_id,),
        )
        return [LeaseRecord(row[0], Owner(*row[1:4]), *row[4:]) for row in rows]

    def signals(self, run_id: str, *, name: str | None = None) -> list[SignalRecord]:
        rows = self._read(
            """SELECT signal_key, name, payload, sent_at, taken_in_step FROM signals
               WHERE run_key = (SELECT run_key FROM runs WHERE run_id = ?) AND (? IS NULL OR name = ? AND taken_in_step IS NULL)
               ORDER BY signal_key""",
            (run_id, name, name),
        )
        return [SignalRecord(*row) for row in rows]

    # ------------------------------------------------------------------ inside

    def _read(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with self._lock, _named_errors(self):
            return self._db.execute(sql, values).fetchall()

    def _hold(self, db: apsw.Connection, claim: Claim) -> None:
        """Prolong the lease inside an open transaction; LeaseLost when it is not ours."""
        db.execute(
            f"UPDATE runs SET renewed_at = {_NOW_MS} WHERE run_key = ? AND fence = ?", (claim.run_key, claim.fence)
        )
        if db.changes() != 1:
            raise self._lost(claim)

    @staticmethod
    def _lost(claim: Claim) -> LeaseLost:
        return LeaseLost(
            f"cannot go on with {claim.run_id!r}: another process took the run over (this one held fence {claim.fence}). "
            "Nothing was written; look with loom-runner explain.",
            run_id=claim.run_id,
        )

    @staticmethod
    def _add_lease(db: apsw.Connection, claim: Claim, lease: LeaseRequest, first_step: int) -> None:
        owner = lease.owner
        db.execute(
            f"""INSERT INTO leases (run_key, fence, machine, pid, process, code, code_at, first_step, taken_at)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, {_NOW_MS} * 1000)""",
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
                _error_text(attempt.error),
            ),
        )


class _Transaction:
    """`with` it: BEGIN IMMEDIATE, then COMMIT, or ROLLBACK when anything is raised. One object per store, for speed."""

    __slots__ = ("_db", "_store")

    def __init__(self, store: SQLiteStore, db: apsw.Connection) -> None:
        self._store = store
        self._db = db

    def __enter__(self) -> apsw.Connection:
        self._store._lock.acquire()  # noqa: SLF001  (one unit with the store)
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except BaseException as exc:
            self._store._lock.release()  # noqa: SLF001
            raise _named(self._store, exc) from exc
        return self._db

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, _: TracebackType | None) -> None:
        try:
            if exc is None:
                self._db.execute("COMMIT")
                return
        except BaseException as failure:
            self._roll_back()
            raise _named(self._store, failure) from failure
        else:
            self._roll_back()
            raise _named(self._store, exc)
        finally:
            self._store._lock.release()  # noqa: SLF001

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            with suppress(Exception):  # the first error is the one to tell
                self._db.execute("ROLLBACK")


@contextmanager
def _named_errors(store: SQLiteStore) -> Iterator[None]:
    try:
        yield
    except Exception as exc:
        named = _named(store, exc)
        if named is exc:
            raise
        raise named from exc


def _named(store: SQLiteStore, exc: BaseException) -> BaseException:
    """Give SQLite's error the name that says what to do; any other error as it is."""
    import apsw  # noqa: PLC0415

    path = store.path
    if not isinstance(exc, apsw.Error):
        return exc
    match exc:
        case apsw.NotADBError():
            return StoreUnreadable(f"cannot open {path}: it is not a SQLite database. Name another file with --db.")
        case apsw.CorruptError():
            return StoreUnreadable(f"cannot read {path}: the database is damaged ({exc}). Restore a copy.")
        case apsw.CantOpenError() | apsw.PermissionsError() | apsw.AuthError():
            return StoreUnreadable(f"cannot open {path}: {exc}. Check that the file and its folder may be used.")
        case apsw.ReadOnlyError():
            return StoreReadOnly(f"cannot write to {path}: the file or its folder is read-only. Use a copy with --db.")
        case apsw.BusyError() | apsw.LockedError():
            return StoreBusy(f"cannot write to {path}: another process kept it locked. Nothing was changed; try again.")
        case apsw.FullError():
            return StoreBusy(f"cannot write to {path}: the disk is full. Nothing was changed; make room, then resume.")
        case apsw.IOError():
            return StoreBusy(f"cannot use {path}: the disk reports an error ({exc}). Nothing was changed.")
    return StoreError(f"cannot use {path}: {type(exc).__name__}: {exc}")


def _error_text(error: ErrorInfo | None) -> str | None:
    return None if error is None else json.dumps(error.as_json())


def _json_or_none(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _error_or_none(text: str | None) -> ErrorInfo | None:
    return None if text is None else ErrorInfo.from_json(json.loads(text))


def _run(row: tuple[Any, ...]) -> RunRecord:
    (*head, result, error, wait, fence, renewed_at, machine, pid, process, left_ms, created_at, updated_at) = row
    return RunRecord(
        *head,
        result=result,
        error=_error_or_none(error),
        wait=_json_or_none(wait),
        fence=fence,
        owner=None if renewed_at is None else Owner(machine, pid, process),
        lease_left_s=0.0 if left_ms is None else left_ms / 1000,
        created_at=created_at,
        updated_at=updated_at,
    )


def _tool(row: tuple[Any, ...]) -> ToolRecord:
    (*head, error, retryable, started_at, ended_at, fence, is_live, decided_by) = row
    return ToolRecord(
        *head,
        error=_error_or_none(error),
        retryable=bool(retryable),
        started_at=started_at,
        ended_at=ended_at,
        fence=fence,
        is_live=bool(is_live),
        decided_by=decided_by,
    )
