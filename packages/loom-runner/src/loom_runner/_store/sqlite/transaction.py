"""Write transactions of one SQLite file, each checked after its commit (see `open_files`)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from loom_runner._store.sqlite.locks import QUICK
from loom_runner._store.sqlite.named_errors import is_locked
from loom_runner.errors import WriteLocked

if TYPE_CHECKING:
    import threading
    from types import TracebackType

    import apsw

    from loom_runner._store.sqlite.locks import LockWait

__all__ = ["QuickTransaction", "Transaction"]


class CheckedFile(Protocol):
    """The part of an open database that its transactions use."""

    path: str
    lock: threading.RLock
    db: apsw.Connection

    def check_usable(self) -> None:
        """Raise what an earlier check found."""

    def check_commit(self) -> None:
        """Check that what was committed is on disk under the file's name."""

    def named(self, exc: BaseException) -> BaseException:
        """Translate an error of SQLite; return any other error unchanged."""


class Transaction:
    """A context manager: BEGIN IMMEDIATE, then COMMIT, or ROLLBACK if anything is raised. One
    object per file, for speed."""

    __slots__ = ("_execute", "_file", "_lock")

    def __init__(self, file: CheckedFile) -> None:
        self._file = file
        self._lock = file.lock
        self._execute = file.db.cursor().execute  # a cursor of its own: a new one for each statement costs as much

    @property
    def _db(self) -> apsw.Connection:
        return self._file.db

    def __enter__(self) -> apsw.Connection:
        self._lock.acquire()
        try:
            self._file.check_usable()
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
                self._file.check_commit()
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

    def __init__(self, file: CheckedFile, wait: LockWait) -> None:
        super().__init__(file)
        self._wait = wait

    def __enter__(self) -> apsw.Connection:
        self._lock.acquire()
        self._wait.limit = QUICK
        try:
            self._file.check_usable()
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
            self._wait.limit = self._wait.patient
        return self._db
