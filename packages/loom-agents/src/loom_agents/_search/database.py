"""The database of an index: opening it, what is in it, and what happens when it is damaged.

Theory of operation
-------------------
An index can always be made again, so it is opened or replaced, never repaired:

* a new or empty file becomes an index;
* an index of an older format is emptied;
* an index that is damaged, or that has objects that we do not create, is renamed to
  `NAME.damaged-1` and made again;
* any other file is refused. It is not ours: neither its header nor its text says so.

Files are written in transactions of limited size, in write-ahead mode, so a process that is killed
leaves an index that opens and has whole files only. Processes wait for each other for a limited
time. The file is never opened except by SQLite: closing another descriptor would release the locks
of this process.
"""

import contextlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import apsw

from loom_agents._errors import SearchError
from loom_agents._search.words import TOKENIZER

APPLICATION_ID: Final = 0x4C6F6F53  # "LooS"
FORMAT: Final = 3
LOCK_TIMEOUT_S: Final = 10.0
_LOOKED_AT_BYTES: Final = 1 << 16
_TABLES: Final = (
    "CREATE TABLE loom_search_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE loom_search_file (
        id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, size_bytes INTEGER NOT NULL, modified_ns INTEGER NOT NULL,
        digest BLOB, skipped TEXT, read_again INTEGER NOT NULL
    )""",
    """CREATE TABLE loom_search_chunk (
        id INTEGER PRIMARY KEY, file INTEGER NOT NULL, line INTEGER NOT NULL, is_source INTEGER NOT NULL
    )""",
    "CREATE INDEX loom_search_chunk_file ON loom_search_chunk (file)",
    """CREATE TABLE loom_search_earlier (
        path TEXT PRIMARY KEY, text TEXT NOT NULL, replaced_at TEXT NOT NULL
    ) WITHOUT ROWID""",
    "CREATE TABLE loom_search_vector (chunk INTEGER PRIMARY KEY, value BLOB NOT NULL)",
    f'CREATE VIRTUAL TABLE loom_search_words USING fts5(heading, path, names, text, tokenize = "{TOKENIZER}")',
)
_SCHEMA: Final = "SELECT name, sql FROM sqlite_schema ORDER BY name"
_DAMAGE: Final = (apsw.CorruptError, apsw.NotADBError, apsw.SchemaChangeError, apsw.MismatchError)


class IndexDatabase:
    """The open database of an index. Use `connection` in one thread at a time.

    Args:
        path: The file; None for a database in memory.
        lock_timeout_s: How many seconds to wait for another process that writes.

    Raises:
        SearchError: The file is not an index, or cannot be opened.
    """

    def __init__(self, path: Path | None, *, lock_timeout_s: float = LOCK_TIMEOUT_S) -> None:
        self.path = None if path is None else Path(os.path.realpath(path))
        self._lock_timeout_s = lock_timeout_s
        self._inode = (0, 0)
        self.rebuilt: str | None = None
        """Why the index was made again when it was opened."""
        self.writes = 0
        """How many transactions this object has committed."""
        self.connection = self._open()

    def close(self) -> None:
        """Close the connection. Closing twice is harmless."""
        self.connection.close()

    def check_file(self) -> bool:
        """Open the file again if another one is at its path; return whether that was so."""
        if self.path is None or _inode(self.path) == self._inode:
            return False
        self.connection.close(True)
        self.connection = self._open()
        self.rebuilt = self.rebuilt or "the database was deleted or replaced"
        self.writes += 1
        return True

    def replace_damaged(self, why: str) -> None:
        """Rename the file and begin a new index."""
        self.connection.close(True)
        if self.path is not None and _inode(self.path) == self._inode:
            self._move_aside(why)
        self.connection = self._open()
        self.rebuilt = self.rebuilt or why
        self.writes += 1

    @contextlib.contextmanager
    def transaction(self) -> Iterator[apsw.Connection]:
        """Yield the connection in a write transaction, committed at the end or rolled back."""
        db = self.connection
        with self.errors("write"):
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            self.writes += 1

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read the same state in all queries of a block, whatever other processes write."""
        self.connection.execute("BEGIN")
        try:
            yield
        finally:
            if self.connection.in_transaction:
                self.connection.execute("COMMIT")

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        return self.connection.execute(sql, values).fetchall()

    def value(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """Return the first value of a query, None without rows."""
        return self.connection.execute(sql, values).get

    def state(self) -> tuple[int, int]:
        """Return a value that changes when the content does, by this object or another process."""
        return (int(self.value("PRAGMA data_version")), self.writes)

    @contextlib.contextmanager
    def errors(self, verb: str) -> Iterator[None]:
        """Translate errors of SQLite, except those that mean damage (`is_damage`)."""
        try:
            yield
        except _DAMAGE:
            raise
        except apsw.ConnectionClosedError as exc:
            raise SearchError(f"cannot {verb} the index {self._name}: it was closed. Open it again.") from exc
        except (apsw.BusyError, apsw.LockedError) as exc:
            raise SearchError(
                f"cannot {verb} the index {self._name}: another process has locked it for "
                f"{self._lock_timeout_s:g} s. Try again when that process is done."
            ) from exc
        except apsw.Error as exc:
            raise SearchError(f"cannot {verb} the index {self._name}: {exc}. Check the disk and permissions.") from exc

    @property
    def _name(self) -> str:
        return "in memory" if self.path is None else str(self.path)

    # ------------------------------------------------------------------ opening

    def _open(self) -> apsw.Connection:
        db = self._opened()
        db.register_fts5_function("loom_coverage", _coverage)
        return db

    def _opened(self) -> apsw.Connection:
        if self.path is None:
            db = apsw.Connection(":memory:")
            _create(db)
            return db
        self._create_file(self.path)
        with self.errors("open"):
            try:
                return self._connect(self.path)
            except _DAMAGE as exc:
                if not _has_our_text(self.path):
                    raise self._refused("it is not a database") from exc
                self._move_aside("it is damaged")
                self._create_file(self.path)
                return self._connect(self.path)

    def _connect(self, path: Path) -> apsw.Connection:
        """Open the file, which exists, and prepare what is in it."""
        self._inode = _inode(path)
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            db.set_busy_timeout(int(self._lock_timeout_s * 1000))
            db.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
            db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
            db.execute("PRAGMA cell_size_check = ON")
            verdict = self._verdict(db)
            if verdict == "unknown objects":
                db.close()
                self._move_aside("it has objects that no index has")
                self._create_file(path)
                return self._connect(path)
            self._switch_to_wal(db)
            db.execute("PRAGMA synchronous = NORMAL")
            if verdict != "index":
                self._prepare(db)
        except BaseException:
            db.close(True)
            raise
        return db

    def _verdict(self, db: apsw.Connection) -> str:
        """Return what is in the file: `index`, `old`, `new` or `unknown objects`."""
        schema = db.execute(_SCHEMA).fetchall()
        owner, version = db.execute("PRAGMA application_id").get, db.execute("PRAGMA user_version").get
        if owner != APPLICATION_ID:
            if schema or owner:
                raise self._refused("it is the database of another program")
            return "new"
        if version > FORMAT:
            raise self._refused(f"its format {version} is newer than this version knows ({FORMAT})")
        if version < FORMAT:
            return "old"
        return "index" if schema == _expected() else "unknown objects"

    def _prepare(self, db: apsw.Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        verdict = self._verdict(db)  # another process may have been faster
        if verdict == "old":
            self.rebuilt = "its format was older"
            for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE sql LIKE 'CREATE VIRTUAL%'").fetchall():
                db.execute(f'DROP TABLE "{name}"')
            for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
                db.execute(f'DROP TABLE "{name}"')
        if verdict != "index":
            _create(db)
        db.execute("COMMIT")

    def _switch_to_wal(self, db: apsw.Connection) -> None:
        """Use a write-ahead log. SQLite does not wait for a lock here, so this function does."""
        ends_at = time.monotonic() + self._lock_timeout_s
        while db.execute("PRAGMA journal_mode").get != "wal":
            try:
                db.execute("PRAGMA journal_mode = WAL")
            except apsw.BusyError:
                if time.monotonic() > ends_at:
                    raise
                time.sleep(0.02)

    def _create_file(self, path: Path) -> None:
        try:
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            if not stat.S_ISREG(path.stat().st_mode):
                raise self._refused("it is not a file")
        except OSError as exc:
            raise SearchError(
                f"cannot open the index {path}: {exc.strerror}. Choose a path that you can write to."
            ) from exc

    def _move_aside(self, why: str) -> None:
        assert self.path is not None
        number = 1
        while (aside := Path(f"{self.path}.damaged-{number}")).exists():
            number += 1
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self.path}{suffix}").rename(f"{aside}{suffix}")
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(aside)
        self.rebuilt = f"{why}; the old file is {aside.name}"

    def _refused(self, why: str) -> SearchError:
        return SearchError(f"cannot use {self._name} as an index: {why}. Choose another path, or move the file away.")


def is_damage(exc: BaseException) -> bool:
    """Report whether an error of SQLite means that the file is damaged."""
    return isinstance(exc, _DAMAGE)


def _create(db: apsw.Connection) -> None:
    for statement in _TABLES:
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {FORMAT}")


def _coverage(api: apsw.FTS5ExtensionApi, *_: object) -> float:
    """Return which part of the terms of a query the present row has: the SQL function
    `loom_coverage`.
    """
    return sum(len(api.phrase_columns(number)) > 0 for number in range(api.phrase_count)) / api.phrase_count


_expected_schema: list[tuple[Any, ...]] = []


def _expected() -> list[tuple[Any, ...]]:
    """Return the rows of `sqlite_schema` of an index."""
    if not _expected_schema:
        db = apsw.Connection(":memory:")
        _create(db)
        _expected_schema.extend(db.execute(_SCHEMA).fetchall())
    return _expected_schema


def _inode(path: Path) -> tuple[int, int]:
    try:
        facts = path.stat()
    except OSError:
        return (0, 0)
    return (facts.st_dev, facts.st_ino)


def _has_our_text(path: Path) -> bool:
    """Report whether the beginning of a file that is no database has the tables of an index.

    It is read through SQLite, which does not release the locks of this process.
    """
    try:
        file = apsw.VFSFile("", str(path), [apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_MAIN_DB, 0])
        start = file.xRead(min(file.xFileSize(), _LOOKED_AT_BYTES), 0)
        file.xClose()
    except apsw.Error:
        return False
    return b"loom_search_words" in start
