"""The keys of an encrypted SQLite store: checked when it is opened, changed by `rekey`.

A database is encrypted as a whole or not at all: a row of `about`, written when a file without runs
is first opened with keys, holds a known word encrypted with the key. So a wrong key is detected
when the database is opened, not in the middle of a run, and nothing is written in plain text into
an encrypted database.
"""

# ruff: noqa: S608  (the f-strings join constants of this package; values always travel as parameters)
from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loom_runner._store.cells import Cells
from loom_runner._store.sqlite.base import Reads, Writes
from loom_runner._store.sqlite.file import SQLiteFile
from loom_runner._store.sqlite.schema import CELLS
from loom_runner.errors import StoreBusy, StoreLocked

if TYPE_CHECKING:
    from loom_runner._store.encryption_keys import KeyRing

__all__ = ["KeyReads", "KeyWrites", "rekey"]

_CHECK_TEXT: Final = "loom"
_WRITE_KEY_CHECK: Final = "INSERT OR REPLACE INTO about (name, value) VALUES ('key_check', ?)"
_ROW_KEYS: Final = {"blobs": ("hash",), "leases": ("run_key", "fence"), "tool_tries": ("number", "try")}
_WAIT_MS: Final = 2_000


class KeyReads(Reads):
    """Reads about encryption."""

    @property
    def is_encrypted(self) -> bool:
        """Whether the content that users wrote is encrypted."""
        return self._key_check() is not None

    def _key_check(self) -> str | bytes | None:
        rows = self._read("SELECT value FROM about WHERE name = 'key_check'", ())
        return rows[0][0] if rows else None


class KeyWrites(KeyReads, Writes):
    """Check the keys of a database."""

    def _check_keys(self, *, read_only: bool) -> None:
        """Check the store's keys against the database, and mark a new database as encrypted.

        Raises:
            StoreLocked: The keys are missing, wrong, or given for a database in plain text.
        """
        word = self._key_check()
        if word is not None:
            self._cells.open(word, "the database")
            return
        if self._cells.keys is None:
            return
        if self._read("SELECT 1 FROM runs LIMIT 1", ()):
            if read_only:
                return
            raise StoreLocked(
                f"cannot open {self.description} with a key: it contains runs in plain text. Encrypt it once "
                "with SQLiteStore.rekey(path, keys), or open it without a key."
            )
        if read_only:
            return
        with self._file.transaction as db:
            db.execute(_WRITE_KEY_CHECK, (self._cells.encrypted(_CHECK_TEXT),))
        if self._read("SELECT 1 FROM sqlite_sequence WHERE name = 'runs'", ()):
            # Deleted runs may remain in free pages, in plain text.
            with self._file.lock, self._file.named_errors():
                self._file.db.execute("VACUUM")
                self._file.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def rekey(path: str, keys: KeyRing) -> int:
    """See `SQLiteStore.rekey`."""
    file = SQLiteFile(path, "power", read_only=False, is_shared=False)
    db = file.db
    cells = Cells(db, file.path, keys, 0)
    count = 0
    try:
        with file.named_errors():
            db.set_busy_timeout(_WAIT_MS)
            db.pragma("locking_mode", "EXCLUSIVE")
            # Leaving WAL mode requires exclusive access, and removes the log with its plain text.
            if db.pragma("journal_mode", "delete") != "delete":
                raise StoreBusy(f"cannot encrypt {path}: it is in use. Stop the other processes first.")
        with file.transaction:
            for table, column in CELLS:
                row_key = _ROW_KEYS.get(table, ("rowid",))
                where = " AND ".join(f"{name} = ?" for name in row_key)
                rows = f"SELECT {', '.join(row_key)} FROM {table} WHERE {column} IS NOT NULL"
                for row in db.execute(rows).fetchall():
                    (cell,) = db.execute(f"SELECT {column} FROM {table} WHERE {where}", row).fetchone() or ("",)
                    sealed = cells.encrypted_again(cell, f"{column} of {table}")
                    db.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (sealed, *row))
                    count += 1
            db.execute(_WRITE_KEY_CHECK, (cells.encrypted(_CHECK_TEXT),))
        with file.named_errors():
            db.execute("VACUUM")
            db.pragma("journal_mode", "wal")
    finally:
        file.close()
    return count
