"""A mark in the database file that says: the log beside this file belongs to it. Theory of
operation:

Between checkpoints, what was committed is in the log (`-wal`). A copy of the database file alone
opens without any error, and lacks all of that. The mark makes such a copy known. It is a row of
`about` that only the *file* has, because around each checkpoint this package writes

    the row (commit), the checkpoint, the deletion of the row (commit)

so the file contains the row, and the log contains its deletion. Whoever reads both sees no row; the
last connection that closes moves the deletion into the file. Who sees the row has the file without
its log, with two exceptions. A process may be killed between the two commits; then the log still
exists, and the next opening for writing deletes the row. (Only if another program opens and closes
the file before that, a complete file is called incomplete.) And SQLite may make a copy between them
(`VACUUM INTO`, its backups): such a copy has another schema version than the row says.

The first mark is written before a process begins to drive runs (`announce`), the others in place of
SQLite's automatic checkpoints. While somebody reads an older state, a checkpoint would end at that
state, which has no row, so it is put off; before the first one, this waits 0.1 s for readers. A
checkpoint by another program leaves no mark, so a copy without its log may stay unknown.

With the mark, a number is written that grows at each checkpoint and stays. The number in the file
(without its log) never becomes smaller, unless the content of the file is overwritten, for instance
by a backup that somebody copies over it (see `open_files`).
"""

from __future__ import annotations

import json
import logging
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from loom_runner._model.clock import to_iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import apsw

__all__ = ["CopyWithoutLog", "LogMark", "copied_without_log", "moves_in_file", "remove_marks"]

_RETRY_PAGES: Final = 100
"""By how much the log grows before the next attempt, when somebody is in the way."""
_WAIT_FOR_READERS_S: Final = 0.1
_MOST_PAGES: Final = 10_000
"""The size at which it is moved in spite of readers."""
_DELETE: Final = "DELETE FROM about WHERE name = 'needs_log'"
_PUT: Final = "INSERT OR REPLACE INTO about (name, value) VALUES (?, ?)"
_FIND: Final = "SELECT value FROM about WHERE name = ?"
_COUNT: Final = """
    INSERT INTO about (name, value) VALUES ('moves', 1) ON CONFLICT DO UPDATE SET value = value + 1 RETURNING value
"""


@dataclass(frozen=True, slots=True)
class CopyWithoutLog:
    """What is known about a database that was copied without its log, for people.

    Attributes:
        was_driven: Runs were driven in the copy since.
    """

    text: str
    was_driven: bool = False


def copied_without_log(db: apsw.Connection, *, had_log: bool) -> CopyWithoutLog | None:
    """Return how a database was copied without its log; None if it is complete.

    Args:
        had_log: There was a log with content before the database was opened.
    """
    mark = None if had_log else db.execute(_FIND, ("needs_log",)).get
    if mark is None or json.loads(mark)["schema"] != db.pragma("schema_version"):
        known = db.execute(_FIND, ("copied_without_log",)).get
        return None if known is None else CopyWithoutLog(str(known), was_driven=True)
    found = json.loads(mark)
    return CopyWithoutLog(
        f"its log (the file with -wal) is missing: it was copied without it while process {found['pid']} used it, or "
        f"the log was deleted; what was committed after {to_iso(found['at'])} is not in it"
    )


def moves_in_file(path: str) -> int | None:
    """Return how often the log was moved into a file, without what is in its log; None if the file
    does not say, or cannot be read.
    """
    import apsw

    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    with suppress(apsw.Error):
        db = apsw.Connection(f"{Path(path).as_uri()}?immutable=1", flags=flags)
        try:
            found: int | None = db.execute(_FIND, ("moves",)).get
            return found
        finally:
            db.close()
    return None


def remove_marks(db: apsw.Connection) -> None:
    """Delete the row of a process that was killed while it moved the log, inside an open
    transaction.
    """
    db.execute(_DELETE)


class LogMark:
    """The mark of one open database, and its checkpoints.

    Args:
        db: The connection, which is used under its lock.
        synchronous: Its level of `PRAGMA synchronous`.
        has_readers: Return whether somebody reads the database now.
        without_waiting: A block in which it does not wait for other writers.
        copied: See `copied_without_log`.
        path: The database, for messages.
        before_move: Checks that the file is the one that the log belongs to.
        on_moved: Told the number that is in the file now, after the log was moved.
    """

    pages: ClassVar[int] = 1000
    """The size of the log at which it is moved into the file; SQLite's default."""

    def __init__(
        self,
        db: apsw.Connection,
        *,
        synchronous: int,
        has_readers: Callable[[], bool],
        without_waiting: Callable[[], AbstractContextManager[None]],
        copied: CopyWithoutLog | None,
        path: str,
        before_move: Callable[[], None],
        on_moved: Callable[[int], None],
    ) -> None:
        self._db = db
        self._before_move = before_move
        self._on_moved = on_moved
        self._synchronous = synchronous
        self._has_readers = has_readers
        self._without_waiting = without_waiting
        self._copied = None if copied is None or copied.was_driven else copied.text
        self._path = path
        self._pages = 0
        self._next = self.pages
        self._is_announced = False
        self._is_marked = False
        self._is_set = False
        self._last = 0
        self.is_writing = False
        """Set while this module commits, which is no commit of a caller."""
        db.set_wal_hook(self._count)  # replaces SQLite's automatic checkpoints

    def _count(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        self._pages = pages
        return 0

    def announce(self) -> None:
        """Mark the file before runs are driven, once."""
        if self._is_announced:
            return
        self._is_announced = True
        if self._copied is not None:
            logging.getLogger("loom_runner").warning("%s may lack steps: %s", self._path, self._copied)
        deadline = time.monotonic() + _WAIT_FOR_READERS_S
        self._move_log()
        while not self._is_marked and time.monotonic() < deadline:
            time.sleep(0.001)
            self._move_log()

    def after_commit(self) -> None:
        """Move the log into the file when it has become long enough."""
        self._clear_if_set()
        if self._pages >= self._next:
            self._move_log()
        elif self._pages < self._last:  # the log was moved, and is written from its beginning
            self._next = self.pages if self._is_marked else 0
        self._last = self._pages

    def before_close(self) -> None:
        """Delete a row that could not be deleted before."""
        self._clear_if_set()

    def _clear_if_set(self) -> None:
        if self._is_set:
            with self._aside():
                self._clear()

    def _move_log(self) -> None:
        """Mark the file and move the log into it, if nobody is in the way."""
        is_urgent = self._pages > _MOST_PAGES
        self._before_move()
        if is_urgent or not self._has_readers():
            with self._aside():
                self._mark_and_move(is_urgent=is_urgent)
        self._next = max(self.pages, self._pages + _RETRY_PAGES) if self._is_marked else 0

    def _mark_and_move(self, *, is_urgent: bool) -> None:
        import apsw

        self._db.execute("BEGIN IMMEDIATE")
        schema = self._db.pragma("schema_version")
        row = json.dumps({"at": time.time_ns() // 1000, "pid": os.getpid(), "schema": schema})
        if self._copied is not None:
            self._db.execute(_PUT, ("copied_without_log", self._copied))
            self._copied = None
        self._db.execute(_PUT, ("needs_log", row))
        number: int = self._db.execute(_COUNT).get
        self._is_set = True
        self._db.execute("COMMIT")
        if is_urgent or not self._has_readers():
            pages, moved = self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self._is_marked = self._is_marked or pages == moved
            if pages == moved:
                self._on_moved(number)
        self._clear()

    def _clear(self) -> None:
        if self._synchronous > 1:  # a loss of power must not bring the row back
            self._db.pragma("synchronous", self._synchronous)
        self._db.execute("BEGIN IMMEDIATE")
        remove_marks(self._db)
        self._db.execute("COMMIT")
        self._is_set = False

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Wait for nobody, and ignore errors: what callers wrote is committed, and the next attempt
        may succeed.

        The first commit in the block needs no sync: that of the checkpoint includes it.
        """
        import apsw

        self.is_writing = True
        try:
            if self._synchronous > 1:
                self._db.pragma("synchronous", 1)
            with self._without_waiting():
                yield
        except apsw.Error:
            if self._db.in_transaction:
                with suppress(apsw.Error):
                    self._db.execute("ROLLBACK")
        finally:
            if self._synchronous > 1:
                self._db.pragma("synchronous", self._synchronous)
            self.is_writing = False
