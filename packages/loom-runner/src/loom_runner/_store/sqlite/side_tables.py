"""Side tables in a SQLite file."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from loom_runner._store.address import absolute_path, address_of, check_file, create_private
from loom_runner._store.sqlite.foreign_objects import check_objects, register_group, restrict
from loom_runner._store.sqlite.forks import refuse_after_fork
from loom_runner._store.sqlite.locks import WAIT_FOR_WRITERS_S, switch_to_wal
from loom_runner._store.sqlite.named_errors import named_errors
from loom_runner._store.sqlite.open_files import opening
from loom_runner._store.sqlite.read_only import connect_to_read
from loom_runner.errors import StoreError, StoreTooNew

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import apsw

    from loom_runner._store.side_tables import Migration
    from loom_runner._store.sqlite.forks import ForkedConnection
    from loom_runner._store.sqlite.open_files import OpenFile

__all__ = ["SQLiteSideTables"]

_WAIT_FOR_WRITERS_MS: Final = int(WAIT_FOR_WRITERS_S * 1000)
_PAGES_BESIDE_RUNS: Final = 10_000
"""The size of the log at which it is moved into the file. The store of the runs does it earlier
(see `log_mark`)."""
_VERSIONS: Final = """
    CREATE TABLE IF NOT EXISTS side_tables (name TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID
"""


class SQLiteSideTables:
    """See `SideTables`."""

    def __init__(
        self,
        path: str,
        name: str,
        migrations: Sequence[Migration],
        *,
        always: str = "",
        functions: Mapping[str, Callable[..., Any]] | None = None,
        read_only: bool = False,
    ) -> None:
        self.path = path
        self.locks = (threading.RLock(),)
        self._absolute = path if path == ":memory:" else absolute_path(path)
        self._pid = os.getpid()
        self._open_file: OpenFile | None = None
        self._read_only = read_only
        register_group(name, migrations, always, functions or {})
        with named_errors(path):
            self._db = self._connected()
            try:
                for function_name, function in (functions or {}).items():
                    self._db.create_scalar_function(function_name, function)
                self._migrate(name, migrations, always)
            except BaseException:
                self.close()
                raise
        refuse_after_fork(self)

    @property
    def address(self) -> str:
        """See `SideTables`."""
        return address_of(self.path, self._absolute)

    def _connected(self) -> apsw.Connection:
        import apsw

        if self.path == ":memory:":
            return apsw.Connection(":memory:")
        check_file(self.path, must_exist=self._read_only)
        real = os.path.realpath(self._absolute)
        with opening(real) as file:
            if self._read_only:
                db = connect_to_read(real, _WAIT_FOR_WRITERS_MS)
                check_objects(db, self.path)
                return db
            create_private(real)
            db = apsw.Connection(real)
            db.set_busy_timeout(_WAIT_FOR_WRITERS_MS)
            restrict(db)
            check_objects(db, self.path)
            if db.pragma("journal_mode") != "wal":
                switch_to_wal(db, _WAIT_FOR_WRITERS_MS / 1000)  # readers do not wait for writers
            db.pragma("synchronous", "FULL")
            if db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'about'").get:
                db.wal_autocheckpoint(_PAGES_BESIDE_RUNS)
            self._open_file = file.keep()
        return db

    def _migrate(self, name: str, migrations: Sequence[Migration], always: str) -> None:
        if self._version(name) == len(migrations) and not always:
            return
        if self._read_only:
            if (version := self._version(name)) > len(migrations):
                raise self._too_new(name, version, len(migrations))
            return
        with self.transaction() as db:
            db.execute(_VERSIONS)
            version = self._version(name)  # another process may have migrated since
            if version > len(migrations):
                raise self._too_new(name, version, len(migrations))
            for migration in migrations[version:]:
                if isinstance(migration, str):
                    db.execute(migration)
                else:
                    migration(db)
            if version < len(migrations):
                db.execute("INSERT OR REPLACE INTO side_tables VALUES (?, ?)", (name, len(migrations)))
            if always:
                db.execute(always)

    def _too_new(self, name: str, version: int, known: int) -> StoreTooNew:
        return StoreTooNew(
            f"cannot use {self.path}: its {name} tables have format {version}, and this version knows up to {known}. "
            "Upgrade the program."
        )

    def _version(self, name: str) -> int:
        has_versions = self._db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'side_tables'").get
        found = self._db.execute("SELECT version FROM side_tables WHERE name = ?", (name,)).get if has_versions else 0
        return int(found or 0)

    @contextmanager
    def transaction(self) -> Iterator[apsw.Connection]:
        with self.locks[0], named_errors(self.path):
            if self._open_file is not None:
                self._open_file.refuse()
            if self._read_only:
                raise StoreError(f"cannot write to {self.path}: it was opened to be read only. Open it for writing.")
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
                if self._open_file is not None:
                    self._open_file.check()
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def rows(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        with named_errors(self.path):
            return self._db.execute(sql, values).fetchall()

    def change_mark(self) -> object:
        with named_errors(self.path):
            return self._db.pragma("data_version")

    def close(self) -> None:
        if self._pid != os.getpid():
            return
        file, self._open_file = self._open_file, None
        with nullcontext() if file is None else file.closing():
            self._db.close()

    # ------------------------------------------------------------------ forks, see `forks`

    def connections(self) -> list[Any]:
        return [self._db]

    def replace_connections(self, by: ForkedConnection) -> None:
        self._open_file = None
        self._db = by  # type: ignore[assignment]  # it refuses every use
