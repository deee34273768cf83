"""One SQLite file: opening it, its durability, transactions, and the translation of SQLite's
errors.
"""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

from loom_runner._store.address import check_file
from loom_runner._store.sqlite.locks import LockWait
from loom_runner._store.sqlite.named_errors import is_locked, named, named_errors
from loom_runner._store.sqlite.schema import APPLICATION_ID, FILLED_IN, MIGRATIONS
from loom_runner.errors import (
    StoreTooNew,
    StoreUnreadable,
    UsageError,
    WriteLocked,
)

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import TracebackType

    import apsw

__all__ = ["Durability", "SQLiteFile"]

Durability = Literal["power", "process", "memory"]
"""What a returned write survives: the loss of power, the end of the process, or nothing."""

_SYNCHRONOUS: Final[dict[Durability, tuple[str, int]]] = {"power": ("FULL", 2), "process": ("NORMAL", 1)}
_WAIT_FOR_WRITERS_S: Final = 30.0
_memory_names = itertools.count()


class SQLiteFile:
    """An open database of this package. `db` is used under `lock` only; `second` opens a connection
    for another thread."""

    def __init__(self, path: str, durability: Durability, *, read_only: bool) -> None:
        if durability not in get_args(Durability):
            raise UsageError(f"cannot open a store with durability {durability!r}: it is power, process or memory.")
        self.in_memory = durability == "memory" or path == ":memory:"
        self.durability: Durability = "memory" if self.in_memory else durability
        self.path = path
        self.lock = threading.RLock()
        self._read_only = read_only
        # The name that this process's connections share when there is no file (SQLite's memdb).
        self._target = f"file:/loom-{id(self)}-{next(_memory_names)}?vfs=memdb" if self.in_memory else path
        with self.named_errors():
            self.db = self._open()
        wait = LockWait(_WAIT_FOR_WRITERS_S)
        self.db.set_busy_handler(wait)
        self.transaction = Transaction(self)
        self.quick_transaction = QuickTransaction(self, wait)

    def second(self) -> apsw.Connection:
        """Open a connection for another thread, with the same durability."""
        db = self._connect()
        self._set_synchronous(db)
        return db

    @staticmethod
    def close(db: apsw.Connection) -> None:
        """Close a connection. When the last one closes, SQLite moves the log into the file. If that
        fails, nothing is lost, because everything committed is in the log."""
        import apsw

        with suppress(apsw.Error):
            db.close()

    # ------------------------------------------------------------------ opening

    def _open(self) -> apsw.Connection:
        if not self.in_memory:
            check_file(self.path, must_exist=self._read_only)
        db = self._connect()
        try:
            self._check_and_prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _connect(self) -> apsw.Connection:
        import apsw

        flags = apsw.SQLITE_OPEN_READONLY if self._read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        db = apsw.Connection(self._target, flags=flags | (apsw.SQLITE_OPEN_URI if self.in_memory else 0))
        db.set_busy_timeout(int(_WAIT_FOR_WRITERS_S * 1000))
        if self._read_only:
            try:
                db.pragma("user_version")
            except (apsw.CantOpenError, apsw.ReadOnlyError):
                # A WAL database on a read-only medium, which no process can be writing to.
                db.close()
                uri = f"{Path(self.path).resolve().as_uri()}?immutable=1"
                db = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        return db

    def _check_and_prepare(self, db: apsw.Connection) -> None:
        version = int(db.pragma("user_version"))
        is_ours = db.pragma("application_id") == APPLICATION_ID
        is_empty = not db.execute("SELECT count(*) FROM sqlite_schema").get
        if not is_ours and (version or not is_empty):
            raise StoreUnreadable(f"cannot open {self.path}: it is another program's database. Name another file.")
        if version > len(MIGRATIONS):
            raise StoreTooNew(
                f"cannot open {self.path}: its format is {version} and this loom-runner knows up to {len(MIGRATIONS)}. "
                "Upgrade loom-runner."
            )
        if not self._read_only:
            self._prepare(db, version)
        elif version < len(MIGRATIONS):
            raise StoreUnreadable(
                f"cannot read {self.path}: its format is {version}, and {len(MIGRATIONS)} is needed. "
                "Run or resume something with it once."
            )

    def _prepare(self, db: apsw.Connection, version: int) -> None:
        """Create or migrate the tables, set the durability, and verify that it is set."""
        if version == 0 and not self.in_memory:
            db.pragma("synchronous", "EXTRA")
            db.pragma("auto_vacuum", 2)
            self._switch_to_wal(db)
        # Also detects a file that cannot be written now, and not in the middle of a run.
        db.execute("BEGIN IMMEDIATE")
        # Another process may have migrated the database since: read the version again under the
        # lock.
        version = int(db.pragma("user_version"))
        for number, migration in enumerate(MIGRATIONS[version:], start=version + 1):
            db.execute(migration)
            if number in FILLED_IN:
                FILLED_IN[number](db)
            db.pragma("user_version", number)
            db.pragma("application_id", APPLICATION_ID)
        db.execute("COMMIT")
        self._set_synchronous(db)

    def _switch_to_wal(self, db: apsw.Connection) -> None:
        import apsw

        deadline = time.monotonic() + _WAIT_FOR_WRITERS_S
        while True:  # SQLite does not wait here when another process makes the same switch
            try:
                mode = db.pragma("journal_mode", "wal")
                break
            except apsw.BusyError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
        if mode != "wal":
            raise StoreUnreadable(
                f"cannot make {self.path} durable: its file system has no write-ahead log ({mode}). Use a local disk."
            )

    def _set_synchronous(self, db: apsw.Connection) -> None:
        if self.in_memory or self._read_only:
            return
        self._switch_to_wal(db)
        name, number = _SYNCHRONOUS[self.durability]
        db.pragma("synchronous", name)
        got = db.pragma("synchronous")
        if got != number:
            raise StoreUnreadable(f"cannot make {self.path} durable: set synchronous to {number}, got {got}.")

    # ------------------------------------------------------------------ errors

    def named_errors(self) -> AbstractContextManager[None]:
        """Translate SQLite's errors in the block."""
        return named_errors(self.path)

    def named(self, exc: BaseException) -> BaseException:
        """Translate an error of SQLite; return any other error unchanged."""
        return named(exc, self.path)


class Transaction:
    """A context manager: BEGIN IMMEDIATE, then COMMIT, or ROLLBACK if anything is raised. One
    object per file, for speed."""

    __slots__ = ("_db", "_execute", "_file", "_lock")

    def __init__(self, file: SQLiteFile) -> None:
        self._file = file
        self._lock = file.lock
        self._db = file.db
        self._execute = file.db.cursor().execute  # a cursor of its own: a new one for each statement costs as much

    def __enter__(self) -> apsw.Connection:
        self._lock.acquire()
        try:
            self._execute("BEGIN IMMEDIATE")
        except BaseException as exc:
            self._lock.release()
            named = self._file.named(exc)
            if named is exc:
                raise
            raise named from exc
        return self._db

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, _: TracebackType | None) -> None:
        try:
            if exc is None:
                self._execute("COMMIT")
                return
        except BaseException as failure:
            self._roll_back()
            named = self._file.named(failure)
            if named is failure:
                raise
            raise named from failure
        finally:
            if exc is not None:
                self._roll_back()
            self._lock.release()
        named = self._file.named(exc)
        if named is not exc:
            raise named from exc

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            with suppress(Exception):  # the first error is the one to report
                self._db.execute("ROLLBACK")


class QuickTransaction(Transaction):
    """A transaction on the thread of an event loop: it raises `WriteLocked` if it cannot begin
    soon.
    """

    __slots__ = ("_wait",)

    def __init__(self, file: SQLiteFile, wait: LockWait) -> None:
        super().__init__(file)
        self._wait = wait

    def __enter__(self) -> apsw.Connection:
        self._lock.acquire()
        self._wait.is_quick = True
        try:
            self._execute("BEGIN IMMEDIATE")
        except BaseException as exc:
            self._lock.release()
            if is_locked(exc):
                raise WriteLocked(f"cannot write to {self._file.path}: another process writes.") from exc
            named = self._file.named(exc)
            if named is exc:
                raise
            raise named from exc
        finally:
            self._wait.is_quick = False
        return self._db
