"""The SQLite store. Theory of operation:

*Who may write.* Every write statement of a run says `WHERE run_key = ? AND fence = ?`. Claiming a run adds one to
its fence, in a transaction, so of all processes that ever believed to hold the run only the latest can change a
row; the others change none, see it by the count of changed rows, roll back and raise `LeaseLost`. Lease times come
from the database's clock (`unixepoch`), never from the caller's, and every write of the holder prolongs its lease
at no price.

*Transactions.* A write transaction is `BEGIN IMMEDIATE` ... `COMMIT`, so it never has to upgrade a read (SQLite
answers that with an error that waiting cannot heal). Nothing is awaited while one is open. Reads fetch all their
rows at once.

*Group commit.* While this process holds one run, its writes are transactions of their own. With several, the writes of
one turn of the event loop share a transaction and its sync (see `_group`); each still fails alone.

*Durability.* `power`: WAL with `synchronous=FULL`, one sync per commit; the database is made with `EXTRA` before it
is switched to WAL, because otherwise a power cut can bring the rollback journal of that switch back and undo later
commits. `process`: WAL with `NORMAL`, which survives kill -9 but not the loss of power. `memory`: no file at all.
What was asked for is read back.

*Connections.* One for the driver, under a lock, and one for the heartbeat's thread, made when it first beats. apsw
brings its own SQLite, because those of the systems at hand carry a bug that can damage a WAL database with several
writers (fixed in 3.51.3).

*Modules.* One per group of tables (`_sqlite_runs`, `_sqlite_steps`, `_sqlite_tools`, `_sqlite_signals`,
`_sqlite_approvals`, `_sqlite_family`), each a subclass of `Tables` (`_sqlite_tables`), put together in `_sqlite_care`,
which reads over all of them. `_sqlite_rows` alone knows the order of columns, `_sqlite_file` how a file is opened,
`_schema` what the tables are, `_cells` how a text stands in a column, `_history` how a run's states do,
`_sqlite_retention` what may be dropped, `_sqlite_keys` what is encrypted.

*Not covered.* Network file systems; use across `fork()`: open a store after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from loom_runner._model.retention import as_keep
from loom_runner._store.cells import Cells
from loom_runner._store.history import History
from loom_runner._store.keys import KeyRing
from loom_runner._store.sqlite.encryption import rekey
from loom_runner._store.sqlite.file import Durability, SQLiteFile
from loom_runner._store.sqlite.maintenance import CareTables

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loom_runner._model.retention import Keep

__all__ = ["SQLiteStore"]


class SQLiteStore(CareTables):
    """Keep runs in one SQLite file.

    Args:
        path: The file; it is made when it is missing. `:memory:` is a database without a file.
        durability: What a returned write survives: `power` (the loss of power), `process` (kill -9 of this process)
            or `memory` (nothing).
        read_only: Open an existing file without the right to change it.
        keep: How much of a run's history stays: `all`, `latest`, `last:N` or `every:K`. A runner's own goes first.
        keys: Encrypt what users write (see `KeyRing`); by default those of the environment, if there are any.
        max_state_bytes: A larger state is refused, before anything is written.
        max_payload_bytes: The same for inputs, tool arguments and payloads, results and signals.

    Raises:
        StoreUnreadable: The path is a directory, not a database of this package, or cannot be opened.
        StoreReadOnly: The file cannot be written to.
        StoreTooNew: A later version of the package wrote it.
        StoreLocked: It is encrypted, and not with these keys; or it is not, and keys were given.

    Durability: with `power` (the default) a write that returned is on disk; with `process` it is with the operating
    system.
    """

    def __init__(
        self,
        path: str | Path,
        durability: Durability = "power",
        *,
        read_only: bool = False,
        keep: Keep | str = "all",
        keys: KeyRing | None = None,
        max_state_bytes: int = 64_000_000,
        max_payload_bytes: int = 16_000_000,
    ) -> None:
        file = SQLiteFile(str(path), durability, read_only=read_only)
        cells = Cells(file.db, file.path, KeyRing.from_environment() if keys is None else keys, max_payload_bytes)
        super().__init__(file, cells, History(cells, max_state_bytes), as_keep(keep))
        try:
            self._check_keys(read_only=read_only)
        except BaseException:
            self.close()
            raise

    @property
    def durability(self) -> Durability:
        """What a returned write survives, as the database confirmed it."""
        return self._file.durability

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` inside every write transaction of this store, when only its COMMIT is left to do."""

        def hook() -> bool:
            listener()
            return False

        self._file.db.set_commit_hook(hook)

    def close(self) -> None:
        with self._file.lock, self._beating:
            self._is_closed = True
            self._file.close(self._file.db)
            if self._heartbeat is not None:
                self._file.close(self._heartbeat)

    @staticmethod
    def rekey(path: str | Path, keys: KeyRing) -> int:
        """Write every value of a database with the first key of `keys`; the others read what is there.

        It encrypts a database in plain text, and changes the key of an encrypted one. The file is made anew, so that
        nothing of the old values is left in it. Nobody else may have it open meanwhile.

        Returns:
            How many values were written.

        Raises:
            StoreBusy: Another process has the database open. Nothing was changed.
            StoreLocked: It is encrypted with a key that is not in `keys`. Nothing was changed.

        Durability: all or nothing, and on disk when this returns.
        """
        return rekey(str(path), keys)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
