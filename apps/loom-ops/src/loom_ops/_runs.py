"""Open the database of the runs, and what is often asked of it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loom_runner import open_store
from loom_runner.run_ids import is_within

from loom_ops._errors import LoomOpsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loom_runner import Runs, SQLiteStore

__all__ = ["commands_in_doubt", "open_runs", "pending_approvals", "require_database"]


def pending_approvals(runs: Runs, run_id: str) -> list[dict[str, Any]]:
    """Return the requests of a run and its children that wait for a decision."""
    return [row for row in runs.approvals(pending_only=True) if is_within(row["run_id"], run_id)]


def commands_in_doubt(runs: Runs, run_id: str) -> list[dict[str, Any]]:
    """Return the commands in doubt of a run; other calls in doubt are repeated automatically."""
    return [call for call in runs.doubts(run_id) if call["name"] == "run_command"]


@contextmanager
def open_runs(db: str, *, must_exist: bool = True) -> Iterator[SQLiteStore]:
    """Open the database, and close it at the end.

    Raises:
        LoomOpsError: It does not exist and must.
    """
    if must_exist:
        require_database(db)
    store = open_store(db)
    try:
        yield store
    finally:
        store.close()


def require_database(db: str) -> None:
    """Check that the database exists.

    Raises:
        LoomOpsError: It does not.
    """
    if not Path(db).exists():
        raise LoomOpsError(
            f"cannot open {db}: there is no such database. Start with loom-ops supervise, or name another --db."
        )
