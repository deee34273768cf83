"""The SQLite store. Theory of operation:

*Fencing.* Every write statement of a run has `WHERE run_key = ? AND fence = ?`. Claiming a run
increments its fence, in a transaction. So of all processes that ever held the run only the latest
can change a row; for the others the number of changed rows is 0, and they roll back and raise
`LeaseLost`. Lease times come from the database's clock (`unixepoch`), never from the caller's, and
every write of the holder also renews its lease.

*Transactions.* A write transaction is `BEGIN IMMEDIATE` ... `COMMIT`, so it never upgrades a read
transaction (which can fail with an error that waiting does not resolve). Nothing is awaited while
one is open. Reads fetch all rows at once.

*Group commit.* While this process holds one run, each write is a separate transaction. With several
runs, the writes of one turn of the event loop share a transaction and its sync (see
`group_commit`); an error still affects one write only.

*Durability.* `power`: WAL with `synchronous=FULL`, one sync per commit; the database is created
with `EXTRA` before it is switched to WAL, because otherwise a power loss can restore the rollback
journal of that switch and undo later commits. `process`: WAL with `NORMAL`, which survives kill -9
but not the loss of power. `memory`: no file. The settings are read back after they are set.

*Connections.* One for the driver, under a lock, and one for the heartbeat's thread, opened at the
first heartbeat. Each commit is checked before it is acknowledged (see `open_files`), and the file
is held against other SQLite libraries in the process (see `hold`). apsw contains its own SQLite,
because those of current systems have a bug that can damage a WAL database with several writers
(fixed in 3.51.3).

*Modules.* One per group of tables (`runs`, `steps`, `tool_calls`, `signals`, `approvals`,
`run_tree`), each with its reads and its writes (see `base`). `reader` combines all reads, this
module all writes. `readiness` maintains `ready_at`, `rows` converts rows to records, `file` opens
files, `schema` defines the tables, `retention` deletes rows, `encryption` checks keys. The encoding
of a text in a column is in `_store/cells.py`, that of a run's states in `_store/history.py`.

*Not supported.* Network file systems. Use across `fork()` is refused (see `forks`).
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, Self

from loom_runner._model.retention import as_keep
from loom_runner._store.address import sqlite_path
from loom_runner._store.cells import Cells
from loom_runner._store.encryption_keys import KeyRing
from loom_runner._store.history import History
from loom_runner._store.sqlite.encryption import KeyWrites, rekey
from loom_runner._store.sqlite.file import Durability, SQLiteFile
from loom_runner._store.sqlite.reader import SQLiteReader
from loom_runner._store.sqlite.runs import RunWrites
from loom_runner._store.sqlite.signals import SignalWrites
from loom_runner._store.sqlite.steps import StepWrites
from loom_runner._store.sqlite.tool_calls import ToolWrites
from loom_runner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike

    from loom_runner._model.approvals import ApprovalRecord
    from loom_runner._model.records import Owner, ReadyRun, RunRecord, SignalRecord, Spent, ToolRecord
    from loom_runner._model.retention import Keep
    from loom_runner._model.statuses import Status

__all__ = ["SQLiteStore"]

_LOOK_EVERY_S: Final = 0.05
"""How often `wait_for_change` polls SQLite, which compares one number in shared memory and reads no
table.
"""


class SQLiteStore(RunWrites, StepWrites, ToolWrites, SignalWrites, KeyWrites):
    """Keep runs in one SQLite file.

    Args:
        path: The file, as `open_store` takes it; it is created if it does not exist. `:memory:` is
            a database without a file.
        durability: What a returned write survives: `power` (the loss of power), `process` (kill -9
            of this process) or `memory` (nothing).
        read_only: Open an existing file for reading only.
        keep: How much of a run's history is kept: `all`, `latest`, `last:N` or `every:K`. The
            setting of an agent takes precedence.
        keys: Encrypt the content that users write (see `KeyRing`); by default with the keys of the
            environment, if there are any.
        max_state_bytes: A larger state is refused, before anything is written.
        max_payload_bytes: The same for inputs, tool arguments and payloads, results and signals.

    Raises:
        UsageError: The path names no file, or an argument is not valid. Nothing was created.
        StoreUnreadable: The path is a directory, not a database of this package, or cannot be
            opened.
        StoreReadOnly: The file cannot be written to.
        StoreTooNew: A later version of the package wrote it.
        StoreLocked: It is encrypted with other keys; or it is not encrypted, and keys were given.

    Durability: With `power` (the default) a write that has returned is on disk; with `process` it
    is in the operating system's cache.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        durability: Durability = "power",
        *,
        read_only: bool = False,
        keep: Keep | str = "all",
        keys: KeyRing | None = None,
        max_state_bytes: int = 64_000_000,
        max_payload_bytes: int = 16_000_000,
    ) -> None:
        for name, limit in (("max_state_bytes", max_state_bytes), ("max_payload_bytes", max_payload_bytes)):
            if type(limit) is not int or limit < 1:
                raise UsageError(f"cannot open a store with {name}={limit!r}: it is a number of bytes, 1 or more.")
        if keys is not None and not isinstance(keys, KeyRing):
            raise UsageError(f"cannot open a store: its keys are a KeyRing, not {type(keys).__name__}.")
        keys, kept = KeyRing.from_environment() if keys is None else keys, as_keep(keep)
        file = SQLiteFile(sqlite_path(path), durability, read_only=read_only)
        cells = Cells(file.db, file.path, keys, max_payload_bytes, max_state_bytes)
        history = History(cells, max_state_bytes)
        super().__init__(file, cells, history, kept)
        self.reader = SQLiteReader(file, cells, history, kept)
        try:
            self._check_keys(read_only=read_only)
        except BaseException:
            self.close()
            raise

    @property
    def durability(self) -> Durability:
        """What a returned write survives, as the database confirmed it."""
        return self._file.durability

    # ------------------------------------------------------------------ reads of the driver

    async def get_run(self, run_id: str) -> RunRecord | None:
        return self.reader.get_run(run_id)

    async def statuses(self, run_ids: Sequence[str]) -> dict[str, tuple[Status, int]]:
        return self.reader.statuses(run_ids)

    async def spent_by_descendants(self, run_id: str) -> Spent:
        return self.reader.spent_by_descendants(run_id)

    async def ready_runs(self, programs: Sequence[str], now: int, *, limit: int = 100) -> list[ReadyRun]:
        return self.reader.ready_runs(programs, now, limit=limit)

    async def holders(self, programs: Sequence[str]) -> list[tuple[str, str, Owner]]:
        return self.reader.holders(programs)

    async def tool_call(self, run_id: str, step_index: int, key: str) -> ToolRecord | None:
        return self.reader.tool_call(run_id, step_index, key)

    async def approvals(self, run_id: str) -> list[ApprovalRecord]:
        return self.reader.approvals(run_id)

    async def approval_of(self, run_id: str, step_index: int, key: str) -> ApprovalRecord | None:
        return self.reader.approval_of(run_id, step_index, key)

    async def signals(self, run_id: str, *, name: str) -> list[SignalRecord]:
        return self.reader.signals(run_id, name=name)

    # ------------------------------------------------------------------ changes by others

    def change_mark(self) -> object:
        db = self._file.db
        with self._file.lock, self._file.named_errors():
            return db.pragma("data_version"), db.total_changes()

    async def wait_for_change(self, since: object, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while self.change_mark() == since:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            await asyncio.sleep(min(left_s, _LOOK_EVERY_S))
        return True

    # ------------------------------------------------------------------ the database

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` inside every write transaction of this store, immediately before the
        COMMIT.
        """

        def hook() -> bool:
            if not self._file.is_committing_alone:
                listener()
            return False

        self._file.db.set_commit_hook(hook)

    def close(self) -> None:
        self._is_closed = True
        self._file.close()

    @staticmethod
    def rekey(path: str | PathLike[str], keys: KeyRing) -> int:
        """Encrypt every value of a database with the first key of `keys`; the others decrypt the
        old values.

        This encrypts a database in plain text, or changes the key of an encrypted one. The file is
        rewritten, so that no old values are left in it. No other process may have it open.

        Returns:
            The number of encrypted values.

        Raises:
            StoreBusy: Another process has the database open. Nothing was changed.
            StoreLocked: It is encrypted with a key that is not in `keys`. Nothing was changed.

        Durability: All or nothing, and on disk when this returns.
        """
        return rekey(sqlite_path(path), keys)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
