"""All reads of the SQLite store: `store.reader`."""

# ruff: noqa: S608  (the f-strings join constants of this package; values always travel as parameters)
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from loom_runner._model.records import RunSummary
from loom_runner._store.origin import read_origin
from loom_runner._store.sqlite.backup import backup
from loom_runner._store.sqlite.folding import FoldReads
from loom_runner._store.sqlite.query import query
from loom_runner._store.sqlite.retention import RetentionReads
from loom_runner._store.sqlite.run_tree import RunTreeReads
from loom_runner._store.sqlite.schema import MIGRATIONS
from loom_runner._store.sqlite.verify import VerifyReads
from loom_runner.errors import UnknownRun

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    from loom_runner._store.sqlite.log_mark import CopyWithoutLog

__all__ = ["SQLiteReader"]


class SQLiteReader(VerifyReads, RunTreeReads, FoldReads, RetentionReads):
    """Read runs, their steps and calls, and facts about the database."""

    def summary(self, run_id: str) -> RunSummary:
        rows = self._read(
            """SELECT run_key, work_us, slowest_step, slowest_us, step_index - first_step - dropped_steps
               FROM runs WHERE run_id = ?""",
            (run_id,),
        )
        if not rows:
            raise UnknownRun(f"cannot summarize {run_id!r}: there is no such run in {self.description}.", run_id=run_id)
        run_key, work_us, slowest_step, slowest_us, steps = rows[0]
        attempts = {
            kind: (count, work_us)
            for kind, count, work_us in self._read(
                """SELECT kind, count(*), coalesce(sum(ended_at - started_at), 0) FROM attempts
                   WHERE run_key = ? GROUP BY kind""",
                (run_key,),
            )
        }
        [(leases, processes)] = self._read(
            "SELECT count(*), count(DISTINCT machine || ' ' || process || ' ' || pid) FROM leases WHERE run_key = ?",
            (run_key,),
        )
        by_status = dict(
            self._read("SELECT status, count(*) FROM tool_calls WHERE run_key = ? GROUP BY status", (run_key,))
        )
        repeated = """FROM tool_tries y JOIN tool_calls t ON t.number = y.number
            WHERE t.run_key = ? AND y.ended_at IS NULL"""
        names = f"SELECT DISTINCT t.name, t.step_index {repeated} ORDER BY t.number LIMIT 3"
        decided = "SELECT DISTINCT decided_by FROM tool_calls WHERE run_key = ? AND decided_by IS NOT NULL ORDER BY 1"
        return RunSummary(
            work_us=work_us,
            slowest_step=slowest_step,
            slowest_us=slowest_us,
            tool_calls=sum(by_status.values()),
            tool_failed=by_status.get("failed", 0),
            tool_repeated=self._read(f"SELECT count(DISTINCT t.number) {repeated}", (run_key,))[0][0],
            tool_decided_by=tuple(name for (name,) in self._read(decided, (run_key,))),
            repeated_names=tuple((name, step) for name, step in self._read(names, (run_key,))),
            steps=steps,
            failed_attempts=attempts.get("failed", (0, 0))[0],
            interrupted_attempts=attempts.get("interrupted", (0, 0))[0],
            attempts_us=sum(spent for _, spent in attempts.values()),
            leases=leases,
            processes=processes,
        )

    @property
    def copied_without_log(self) -> CopyWithoutLog | None:
        """How the file was copied without its log; None if it is complete."""
        return self._file.copied_without_log

    @property
    def database_id(self) -> str:
        """The random id of the database, 32 hexadecimal digits; a copy has the same. Empty for an
        old file that was not opened for writing since databases have ids.
        """
        with self._file.lock, self._file.named_errors():
            return read_origin(self._file.db).database_id

    def query(
        self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = (), *, limit: int, timeout_s: float
    ) -> list[dict[str, Any]]:
        """See `Runs.query`."""
        with self._file.named_errors():
            return query(self._file, sql, parameters, limit=limit, timeout_s=timeout_s)

    def backup(self, address: str | PathLike[str]) -> int:
        """See `Runs.backup`."""
        with self._file.named_errors():
            return backup(self._file, address)

    def facts(self) -> dict[str, Any]:
        """Return facts about the database as JSON, for `doctor`."""
        import apsw

        db, path = self._file.db, Path(self.address)
        log = path.with_name(path.name + "-wal")
        with self._file.lock, self._file.named_errors():
            page_bytes = db.pragma("page_size")
            count = {table: db.execute(f"SELECT count(*) FROM {table}").get for table in ("runs", "steps", "blobs")}
            return {
                "path": self.address,
                "database_id": self.database_id,
                "mode": None if self._file.in_memory else path.stat().st_mode & 0o777,
                "format": db.pragma("user_version"),
                "newest_format": len(MIGRATIONS),
                "sqlite_version": apsw.sqlite_lib_version(),
                "durability": self._file.durability,
                "journal_mode": db.pragma("journal_mode"),
                "synchronous": db.pragma("synchronous"),
                "size_bytes": db.pragma("page_count") * page_bytes,
                "free_bytes": db.pragma("freelist_count") * page_bytes,
                "wal_bytes": log.stat().st_size if not self._file.in_memory and log.exists() else 0,
                **count,
                "blob_bytes": db.execute("SELECT coalesce(sum(size_bytes), 0) FROM blobs").get,
                "is_encrypted": self.is_encrypted,
                "copied_without_log": self.copied_without_log,
                "key_ids": [] if self._cells.keys is None else list(self._cells.keys.key_ids),
                "keep": str(self._keep),
            }
