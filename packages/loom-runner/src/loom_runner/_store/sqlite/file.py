"""One SQLite file: opening it, its durability, its checks, and the translation of SQLite's
errors.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from loom_runner._store.address import absolute_path, address_of, check_file, create_private
from loom_runner._store.origin import give_id
from loom_runner._store.sqlite.foreign_objects import check_objects, restrict
from loom_runner._store.sqlite.forks import ForkedConnection, refuse_after_fork
from loom_runner._store.sqlite.locks import WAIT_FOR_WRITERS_S, LockWait, switch_to_wal
from loom_runner._store.sqlite.log_mark import LogMark, copied_without_log, remove_marks
from loom_runner._store.sqlite.named_errors import named, named_errors
from loom_runner._store.sqlite.open_files import opening
from loom_runner._store.sqlite.read_only import connect_to_read
from loom_runner._store.sqlite.schema import APPLICATION_ID, FILLED_IN, MIGRATIONS
from loom_runner._store.sqlite.transaction import QuickTransaction, Transaction
from loom_runner.errors import (
    StoreError,
    StoreTooNew,
    StoreUnreadable,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    import apsw

    from loom_runner._store.sqlite.log_mark import CopyWithoutLog
    from loom_runner._store.sqlite.open_files import OpenFile

__all__ = ["Durability", "SQLiteFile"]

Durability = Literal["power", "process", "memory"]
"""What a returned write survives: the loss of power, the end of the process, or nothing."""

_SYNCHRONOUS: Final[dict[Durability, tuple[str, int]]] = {"power": ("FULL", 2), "process": ("NORMAL", 1)}
_BUSY_MS: Final = int(WAIT_FOR_WRITERS_S * 1000)
_BEAT_WAIT_MS: Final = 2_000
_PAGES_OF_HEARTBEATS: Final = 10_000
_FIRST_WITH_ABOUT: Final = 3
"""The format that added the table `about`."""
_IS_FREE: Final = """
    SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema) OR EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'side_tables')
"""
"""Whether the tables of this package may be created: side tables may have been created before."""
_memory_names = itertools.count()


class SQLiteFile:
    """An open database of this package. `db` is used under `lock` only; `heartbeat` returns a
    connection for another thread, which is used under `heartbeat_lock`.

    Args:
        path: The file, as the user named it. It is resolved now, whatever the current folder is
            later.
        is_shared: Hold the file (see `open_files`). False for a caller that needs it alone.
    """

    def __init__(self, path: str, durability: Durability, *, read_only: bool, is_shared: bool = True) -> None:
        if durability not in get_args(Durability):
            raise UsageError(f"cannot open a store with durability {durability!r}: it is power, process or memory.")
        self.in_memory = durability == "memory" or path == ":memory:"
        self.durability: Durability = "memory" if self.in_memory else durability
        self.path = path
        self._absolute = path if path == ":memory:" else absolute_path(path)
        self.lock = threading.RLock()
        self.heartbeat_lock = threading.RLock()
        self.copied_without_log: CopyWithoutLog | None = None
        """See the function of this name."""
        self._read_only = read_only
        self._had_log = False
        self._pid = os.getpid()
        self._heartbeat: apsw.Connection | None = None
        self._open_file: OpenFile | None = None
        self._mark: LogMark | None = None
        # The name that this process's connections share when there is no file (SQLite's memdb).
        name = f"file:/loom-{id(self)}-{next(_memory_names)}?vfs=memdb"
        self._target = name if self.in_memory else os.path.realpath(self._absolute)
        with self.named_errors():
            self.db = self._open(is_shared=is_shared)
        self._lock_wait = LockWait(WAIT_FOR_WRITERS_S)
        self.db.set_busy_handler(self._lock_wait)
        self.transaction = Transaction(self)
        self.quick_transaction = QuickTransaction(self, self._lock_wait)
        self._all = [self.db]
        # For a store that is forgotten without being closed. A connection refers to this object
        # through its hooks, so the finalizer must not refer to it.
        self._finalizer = weakref.finalize(self, _close_forgotten, self._open_file, weakref.ref(self.db), self._pid)
        self._finalizer.atexit = False
        refuse_after_fork(self)

    @property
    def address(self) -> str:
        """The path as the user named it, while it leads to the file; else the absolute path."""
        return address_of(self.path, self._absolute)

    def heartbeat(self) -> apsw.Connection:
        """Return the connection for the heartbeat's thread, with the same durability."""
        if self._heartbeat is None:
            self._heartbeat = self.second()
            self._heartbeat.set_busy_timeout(_BEAT_WAIT_MS)  # the heartbeat repeats it
            self._all.append(self._heartbeat)
        return self._heartbeat

    def second(self, *, read_only: bool = False) -> apsw.Connection:
        """Open another connection. It is closed before `close` is called, except the heartbeat's.

        Raises:
            StoreReplaced: The file is not the one that was opened.
            StoreForked: This process did not open it.
        """
        if isinstance(self.db, ForkedConnection):
            self.db.refuse()
        if not self._finalizer.alive:
            raise StoreError(f"cannot use {self.path}: the store was closed. Open it again.")
        if self._open_file is not None:
            self._open_file.check_name()
        db = self._connect(read_only=read_only)
        if not read_only:
            self._set_synchronous(db)
            db.wal_autocheckpoint(_PAGES_OF_HEARTBEATS)  # the other connection does it earlier, see `log_mark`
        return db

    def close(self) -> None:
        """Close all connections. When the last one of all processes closes, SQLite moves the log
        into the file. If that fails, nothing is lost, because everything committed is in the log.
        """
        if self._pid != os.getpid():
            return
        with self.lock, self.heartbeat_lock:
            if self._finalizer.detach() is None:
                return
            if self._mark is not None:
                self._mark.before_close()
            with nullcontext() if self._open_file is None else self._open_file.closing():
                for db in self._all:
                    _close_one(db)

    # ------------------------------------------------------------------ checks

    def announce(self) -> None:
        """Prepare for driving runs: see `log_mark`."""
        if self._mark is not None:
            with self.lock:
                self._mark.announce()

    def check_commit(self) -> None:
        """Check that what was committed is on disk under the file's name, before it is
        acknowledged.

        Raises:
            StoreReplaced: It is not; nothing more is written.
            StoreUnlocked: Another library released the locks.
        """
        if self._open_file is not None:
            self._open_file.check()
        if self._mark is not None:
            self._mark.after_commit()

    def check_all_next(self) -> None:
        """Let the check of the next commit include what is checked rarely."""
        if self._open_file is not None:
            self._open_file.check_all_next()

    def check_usable(self) -> None:
        """Raise what an earlier check found, or that this process did not open the file."""
        if isinstance(self.db, ForkedConnection):
            self.db.refuse()
        if self._open_file is not None:
            self._open_file.refuse()

    def examine(self) -> None:
        """Check all that can be checked of the file and of this process; see `open_files`."""
        if self._open_file is not None:
            self._open_file.examine()

    @property
    def is_committing_alone(self) -> bool:
        """Whether the commit that happens now is one of this class, and not of a caller."""
        return self._mark is not None and self._mark.is_writing

    # ------------------------------------------------------------------ forks, see `forks`

    @property
    def locks(self) -> tuple[Any, ...]:
        return self.lock, self.heartbeat_lock

    def connections(self) -> list[Any]:
        return list(self._all)

    def replace_connections(self, by: ForkedConnection) -> None:
        self._finalizer.detach()
        self.db = by  # type: ignore[assignment]  # it refuses every use
        self._heartbeat = by  # type: ignore[assignment]  # likewise
        self._open_file = self._mark = None

    # ------------------------------------------------------------------ opening

    def _open(self, *, is_shared: bool) -> apsw.Connection:
        if self.in_memory:
            return self._prepared()
        check_file(self.path, must_exist=self._read_only)
        self._had_log = _has_content(f"{self._target}-wal")
        with opening(self._target) as file:
            if not self._read_only:
                create_private(self._target)
            db = self._prepared()
            try:
                if not self._read_only:
                    self._mark = LogMark(
                        db,
                        synchronous=_SYNCHRONOUS[self.durability][1],
                        has_readers=self._has_readers,
                        without_waiting=self._without_waiting,
                        copied=self.copied_without_log,
                        path=self.path,
                        before_move=self._check_content,
                        on_moved=self._moved,
                    )
                if is_shared:
                    self._open_file = file.keep()
            except BaseException:
                db.close()
                raise
        return db

    def _prepared(self) -> apsw.Connection:
        db = self._connect(read_only=self._read_only)
        try:
            self._check_and_prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _connect(self, *, read_only: bool) -> apsw.Connection:
        import apsw

        if read_only and not self.in_memory:
            return connect_to_read(self._target, _BUSY_MS)
        flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        db = apsw.Connection(self._target, flags=flags | (apsw.SQLITE_OPEN_URI if self.in_memory else 0))
        db.set_busy_timeout(_BUSY_MS)
        restrict(db)
        return db

    def _check_content(self) -> None:
        if self._open_file is not None:
            self._open_file.check_name()

    def _moved(self, moves: int) -> None:
        if self._open_file is not None:
            self._open_file.moved(moves)

    def _has_readers(self) -> bool:
        return self._open_file is not None and self._open_file.has_readers()

    @contextmanager
    def _without_waiting(self) -> Iterator[None]:
        """Do not wait for other writers in the block."""
        wait = self._lock_wait
        limit, wait.limit = wait.limit, 0
        try:
            yield
        finally:
            wait.limit = limit

    def _check_and_prepare(self, db: apsw.Connection) -> None:
        db.execute("BEGIN")  # one view of the file, which another process may be creating
        try:
            version = int(db.pragma("user_version"))
            is_ours = db.pragma("application_id") == APPLICATION_ID
            is_free = bool(db.execute(_IS_FREE).get)
            if is_ours or is_free:
                check_objects(db, self.path)
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
        if not is_ours and (version or not is_free):
            raise StoreUnreadable(f"cannot open {self.path}: it is another program's database. Name another file.")
        if version > len(MIGRATIONS):
            raise StoreTooNew(
                f"cannot open {self.path}: its format is {version} and this loom-runner knows up to {len(MIGRATIONS)}. "
                "Upgrade loom-runner."
            )
        if version >= _FIRST_WITH_ABOUT and not self.in_memory:
            self.copied_without_log = copied_without_log(db, had_log=self._had_log)
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
        is_new = version == 0
        for number, migration in enumerate(MIGRATIONS[version:], start=version + 1):
            db.execute(migration)
            if number in FILLED_IN:
                FILLED_IN[number](db)
            db.pragma("user_version", number)
            db.pragma("application_id", APPLICATION_ID)
        if self._had_log:
            remove_marks(db)
        give_id(db, is_new=is_new)
        db.execute("COMMIT")
        self._set_synchronous(db)

    def _switch_to_wal(self, db: apsw.Connection) -> None:
        mode = switch_to_wal(db)
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


def _close_forgotten(file: OpenFile | None, db: weakref.ref[apsw.Connection], pid: int) -> None:
    if file is not None and pid == os.getpid():
        with file.closing():
            if (found := db()) is not None:
                _close_one(found)


def _close_one(db: apsw.Connection) -> None:
    import apsw

    with suppress(apsw.Error):
        db.close()


def _has_content(path: str) -> bool:
    try:
        return Path(path).stat().st_size > 0
    except OSError:
        return False
