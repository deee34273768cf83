"""Side tables in a SQLite file."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loom_runner._store.address import check_file
from loom_runner._store.sqlite.named_errors import named_errors
from loom_runner.errors import StoreTooNew

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import apsw

    from loom_runner._store.side_tables import Migration

__all__ = ["SQLiteSideTables"]

_WAIT_FOR_WRITERS_MS: Final = 30_000
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
        is_private: bool = False,
    ) -> None:
        self.address = path
        with named_errors(path):
            self._db = self._connected(path, is_private=is_private)
            try:
                for function_name, function in (functions or {}).items():
                    self._db.create_scalar_function(function_name, function)
                self._migrate(name, migrations, always)
            except BaseException:
                self._db.close()
                raise

    @staticmethod
    def _connected(path: str, *, is_private: bool) -> apsw.Connection:
        import apsw

        if path != ":memory:":
            check_file(path)
            if is_private and not Path(path).exists():
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        db = apsw.Connection(path)
        db.set_busy_timeout(_WAIT_FOR_WRITERS_MS)
        if db.pragma("journal_mode") != "wal" and path != ":memory:":
            db.pragma("journal_mode", "wal")  # readers do not wait for writers
        db.pragma("synchronous", "FULL")
        return db

    def _migrate(self, name: str, migrations: Sequence[Migration], always: str) -> None:
        if self._version(name) == len(migrations) and not always:
            return
        with self.transaction() as db:
            db.execute(_VERSIONS)
            version = self._version(name)  # another process may have migrated since
            if version > len(migrations):
                raise StoreTooNew(
                    f"cannot use {self.address}: its {name} tables have format {version}, and this version knows up "
                    f"to {len(migrations)}. Upgrade the program."
                )
            for migration in migrations[version:]:
                if isinstance(migration, str):
                    db.execute(migration)
                else:
                    migration(db)
            if version < len(migrations):
                db.execute("INSERT OR REPLACE INTO side_tables VALUES (?, ?)", (name, len(migrations)))
            if always:
                db.execute(always)

    def _version(self, name: str) -> int:
        has_versions = self._db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'side_tables'").get
        found = self._db.execute("SELECT version FROM side_tables WHERE name = ?", (name,)).get if has_versions else 0
        return int(found or 0)

    @contextmanager
    def transaction(self) -> Iterator[apsw.Connection]:
        with named_errors(self.address):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def rows(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        with named_errors(self.address):
            return self._db.execute(sql, values).fetchall()

    def change_mark(self) -> object:
        with named_errors(self.address):
            return self._db.pragma("data_version")

    def close(self) -> None:
        self._db.close()
