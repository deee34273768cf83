"""The databases that this process has open, one object per file: held against deletion of the log,
and checked for what happens to them.

*Checks.* SQLite keeps writing to a file that was deleted or replaced by another one, and to a log
that was: nothing of it is on disk under its name. So every commit is checked before it is
acknowledged, at the cost of one system call: an entry of the folder that was added, removed or
renamed changes the folder's time of modification, and only then the inodes of the database and of
its log are compared with those at the opening. `examine`, called by the heartbeat, compares them
always, and looks for other SQLite libraries. Locks and content are checked by a commit at most
every 10 ms. What is found is an error from then on: the process must not go on as if it saved
anything.

The content of the file changes only when the log is moved into it. If its time of modification has
changed, the number of these moves is read from it (see `log_mark`): if it is smaller than it was,
the file was overwritten in place.

*Descriptors.* Closing a descriptor of a file releases SQLite's locks on it (see `hold`), so the
descriptors here are shared by all stores of the process, and closed when none has the file open.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from loom_runner._store.sqlite import hold
from loom_runner._store.sqlite.log_mark import moves_in_file
from loom_runner._store.sqlite.other_library import (
    FileKey,
    descriptors_of,
    file_key,
    opened,
    refuse_other_libraries,
    watch_for_other_libraries,
)
from loom_runner.errors import StoreError, StoreForked, StoreReplaced, StoreUnlocked

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OpenFile", "forget_in_forked_process", "opening"]

_SETTLED_NS: Final = 100_000_000
"""A time of modification has the resolution of the kernel's clock tick: a folder that was changed
within this time may change again without a change of its time."""

_RARELY_S: Final = 0.01
"""How often commits check what does not lose them at once: the locks, and the content of the file.
Each check is a system call, and both together would cost a tenth of a step."""
_TRIES: Final = 5
_TRY_AFTER_S: Final = 0.03
"""A file that SQLite writes to at this moment may be unreadable. It is overwritten if it does not
change any more."""

_lock = threading.RLock()
_files: dict[FileKey, OpenFile] = {}
_inherited: dict[FileKey, FileKey | None] = {}
"""In a forked process: the files that its parent had open, and their `-shm` files."""
_inherited_databases: list[int] = []
"""Descriptors of these files."""


class OpenFile:
    """A database that this process has open, by one store or several."""

    def __init__(self, path: str, key: FileKey) -> None:
        self.path = path
        self.key = key
        self.users = 0
        self.error: StoreError | None = None
        self.is_held = False
        self.is_overwritten = False
        self._log: FileKey | None = None
        self._shm: FileKey | None = None
        self._database_fd = self._shm_fd = self._folder_fd = -1
        self._canary = b""
        self._folder_ns = -1
        self._database_ns = -1
        self._moves: int | None = None
        self._next_at = 0.0

    def check(self) -> None:
        """Check, after a commit, that it is on disk under the name of the database.

        Raises:
            StoreReplaced: It is not: the database or its log was deleted or replaced.
            StoreUnlocked: Another SQLite library released the locks of this process.
        """
        if self.error is not None:
            self.refuse()
        is_locked = True
        try:
            if self._folder_fd < 0 or os.fstat(self._folder_fd).st_mtime_ns != self._folder_ns:
                self._look()
            now = time.monotonic()
            if now >= self._next_at:
                self._next_at = now + _RARELY_S
                self._check_content()
                is_locked = not self._canary or hold.canary_is_set(self._shm_fd, self._canary)
        except OSError as exc:
            self.error = StoreError(f"cannot check {self.path}: {exc.strerror}. Nothing more is written.")
            raise self.error from exc
        if not is_locked:
            self._fail(
                StoreUnlocked(
                    f"cannot go on with {self.path}: another SQLite library in this process opened and closed it, "
                    "which released the locks of this process, so that others may have written at the same time. "
                    "Restart this process without it, check with loom-runner verify, and use Runs(store).query(sql)."
                )
            )

    def check_all_next(self) -> None:
        """Let the next `check` include what is checked rarely."""
        self._next_at = 0.0

    def examine(self) -> None:
        """Check all that can be checked.

        Raises:
            StoreReplaced: See `check`.
            StoreUnlocked: See `check`, or another library has the database open in this process.
        """
        self.check_all_next()
        self.check()
        self.check_name()
        # apsw's SQLite has one descriptor of the -shm file, and this object has one.
        if self._shm is not None and len(descriptors_of(self._shm)) > 1 + (self._shm_fd >= 0):
            self._fail(
                StoreUnlocked(
                    f"cannot go on with {self.path}: another SQLite library has it open in this process, so that both "
                    "may write at the same time. Restart this process without it, check with loom-runner verify, and "
                    "use Runs(store).query(sql)."
                )
            )

    def check_name(self) -> None:
        """Check that the file has the name under which it was opened, and its content.

        Raises:
            StoreReplaced: See `check`.
        """
        if isinstance(self.error, StoreReplaced):
            self.refuse()
        self._look()
        self._check_content()

    def moved(self, moves: int) -> None:
        """Remember that this process has moved the log into the file."""
        self._moves = max(moves, self._moves or 0)
        if self._database_fd >= 0:
            self._database_ns = os.fstat(self._database_fd).st_mtime_ns

    def _check_content(self) -> None:
        """Check that the content of the file is the one to which the log belongs."""
        if self._database_fd < 0 or os.fstat(self._database_fd).st_mtime_ns == self._database_ns:
            return
        for _ in range(_TRIES):
            known = self._moves  # another thread may move the log while this one reads
            changed_ns = os.fstat(self._database_fd).st_mtime_ns
            moves = moves_in_file(self.path)
            if known is None or (moves is not None and moves >= known):
                latest = self._moves
                self._moves = moves if latest is None else max(latest, moves or 0)
                self._database_ns = changed_ns
                return
            time.sleep(_TRY_AFTER_S)
            if os.fstat(self._database_fd).st_mtime_ns != changed_ns:
                return  # somebody writes to it now: the next check will tell
        self.is_overwritten = True
        self._fail(
            StoreReplaced(
                f"cannot save to {self.path}: its content was overwritten by another file (a backup?) while this "
                f"process used it. Stop every process that uses it, delete {self.path}-wal and {self.path}-shm, "
                "and copy the file there again."
            )
        )

    def has_readers(self) -> bool:
        """Return whether somebody reads the database now; False if that cannot be told."""
        return self.is_held and hold.has_readers(self._shm_fd)

    def refuse(self) -> None:
        """Raise what an earlier check found, if it found anything."""
        if self.error is not None:
            raise type(self.error)(str(self.error))

    def _fail(self, error: StoreError) -> None:
        self.error = error
        self.refuse()

    def _look(self) -> None:
        """Compare the inodes of the files with those at the opening."""
        changed_ns = -1 if self._folder_fd < 0 else os.fstat(self._folder_fd).st_mtime_ns
        database, log = file_key(self.path), file_key(f"{self.path}-wal")
        if database != self.key:
            what = "deleted or moved" if database is None else "replaced by another file (a restored backup?)"
            self._fail(_replaced(self.path, what))
        if self._log is None:
            self._log = log
        elif log != self._log:
            what = "deleted" if log is None else "replaced by another file"
            self._fail(_replaced(self.path, f"separated from its log: {self.path}-wal was {what}"))
        is_settled = self._log is not None and changed_ns + _SETTLED_NS < time.time_ns()
        self._folder_ns = changed_ns if is_settled else -1

    # ------------------------------------------------------------------ hold

    def _take(self) -> None:
        """Hold the file and register it, for the first store that opens it."""
        shm = file_key(f"{self.path}-shm")
        if self._folder_fd < 0:
            with suppress(OSError):  # a folder cannot be opened on every system
                self._folder_fd = os.open(Path(self.path).parent, os.O_RDONLY | _CLOEXEC)
        if shm is not None:
            if shm != self._shm and self._shm_fd >= 0:  # the file of an earlier opening, which was deleted
                os.close(self._shm_fd)
                self._shm_fd = -1
            opened.pop(self._shm or shm, None)
            try:
                if self._database_fd < 0:
                    self._database_fd = os.open(self.path, os.O_RDONLY | _CLOEXEC)
                if self._shm_fd < 0:
                    self._shm_fd = os.open(f"{self.path}-shm", os.O_RDONLY | _CLOEXEC)
                self.is_held = hold.hold(self._database_fd, self._shm_fd)
                self._canary = hold.set_canary(self._shm_fd) if self.is_held else b""
            except OSError:  # this user may not read the file, for instance; the checks remain
                self.is_held, self._canary = False, b""
            opened[shm] = f"{self.path}-shm"
            self._shm = shm
        opened[self.key] = self.path
        self._log = file_key(f"{self.path}-wal")
        self._folder_ns = -1

    def _is_foreign(self) -> bool:
        self.check_all_next()
        with suppress(StoreError):
            self.check()
        return self.is_overwritten

    def _let_go(self) -> None:
        if self._database_fd >= 0 and self._shm_fd >= 0:
            hold.let_go(self._database_fd, self._shm_fd)
        self.is_held, self._canary = False, b""

    def _forget(self) -> None:
        """Close the descriptors, unless another connection of this process needs its locks."""
        opened.pop(self.key, None)
        opened.pop(self._shm or self.key, None)
        ours = {self._database_fd, self._shm_fd}
        keys = (self.key, *([] if self._shm is None else [self._shm]))
        if any(number not in ours for number, _ in descriptors_of(*keys)):
            return
        self._close_descriptors()
        del _files[self.key]

    def _close_descriptors(self) -> None:
        for descriptor in (self._database_fd, self._shm_fd, self._folder_fd):
            if descriptor >= 0:
                os.close(descriptor)
        self._database_fd = self._shm_fd = self._folder_fd = -1

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Close the connections of one store in the block. The last one may delete the log."""
        with _lock:
            self.users -= 1
            # The log must not be moved into a file that it does not belong to.
            if self.users == 0 and not self._is_foreign():
                self._let_go()
        yield
        with _lock:
            if self.users == 0 and _files.get(self.key) is self:
                self._forget()


_CLOEXEC: Final = getattr(os, "O_CLOEXEC", 0)


def _replaced(path: str, what: str) -> StoreReplaced:
    return StoreReplaced(
        f"cannot save to {path}: it was {what} while this process used it, so nothing is saved any more. "
        "Runs(store).backup(PATH), in this process, writes what was committed to a new file; then stop every process "
        "that uses the database, and open the file that you want to keep."
    )


# ---------------------------------------------------------------------- opening


class opening:  # noqa: N801  (a context manager)
    """Check a file before SQLite opens it in the block; `keep`, in the block, registers it.

    Args:
        path: The file, absolute and without symbolic links.

    Raises:
        AnotherSQLite: Another SQLite library has it open in this process.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._before = file_key(path)

    def __enter__(self) -> Self:
        watch_for_other_libraries()
        with _lock:
            for file in [file for file in _files.values() if file.users == 0]:
                file._forget()  # noqa: SLF001  (this module)
            if self._before is not None and not self._is_open():
                refuse_other_libraries(self._path, shm_of_ours=self._own_shm())
        return self

    def _is_open(self) -> bool:
        file = _files.get(self._before or (-1, -1))
        return file is not None and file.users > 0

    def _own_shm(self) -> int:
        file = _files.get(self._before or (-1, -1))
        return 0 if file is None else int(file._shm_fd >= 0)  # noqa: SLF001  (this module)

    def __exit__(self, *_: object) -> None:
        pass

    def keep(self) -> OpenFile:
        """Register the file, which is open in WAL mode now.

        Raises:
            StoreReplaced: It was replaced while it was opened.
            StoreForked: The parent of this process had it open, and has closed it since.
        """
        key = file_key(self._path)
        if key is None or (self._before is not None and key != self._before):
            raise _replaced(self._path, "deleted or moved" if key is None else "replaced by another file")
        with _lock:
            if _inherited.get(key, shm := file_key(f"{self._path}-shm")) != shm:
                raise StoreForked(
                    f"cannot open {self._path} in this forked process: its parent had the file open and has closed it "
                    "since, and SQLite still uses the parent's files. Open it after the fork only, or start this "
                    "process without fork (multiprocessing: the method spawn)."
                )
            file = _files.get(key)
            if file is None:
                file = _files[key] = OpenFile(self._path, key)
            if file.users == 0:
                file.error, file.is_overwritten, file._moves, file._database_ns = None, False, None, -1  # noqa: SLF001
                file._take()  # noqa: SLF001  (this module)
            file.users += 1
        return file


def forget_in_forked_process() -> None:
    """Close the descriptors that a forked process has from its parent. It has none of the locks."""
    global _lock  # noqa: PLW0603  (another thread of the parent may have held it)
    _lock = threading.RLock()
    for key, file in _files.items():
        _inherited[key] = file._shm  # noqa: SLF001  (this module)
        with suppress(OSError):  # a description of its own, without the parent's locks
            _inherited_databases.append(os.open(f"/proc/self/fd/{file._database_fd}", os.O_RDONLY | _CLOEXEC))  # noqa: SLF001
        file._close_descriptors()  # noqa: SLF001
        file._canary = b""  # noqa: SLF001
    _files.clear()
    opened.clear()
    if _inherited_databases:
        atexit.register(_hold_inherited)


def _hold_inherited() -> None:
    """Keep the connections of the parent, which apsw closes at the end of the interpreter, from
    deleting the log of processes that use the file now.
    """
    for descriptor in _inherited_databases:
        hold.hold_database(descriptor)


@atexit.register
def _let_go_at_exit() -> None:
    """Let the connections that are closed by the end of the process delete the log as usual."""
    for file in _files.values():
        file._let_go()  # noqa: SLF001  (this module)
