"""A runner that only reads rows, or decides about them: it has no step of its own."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loom_runner import AgentRunner, Continue, SQLiteStore

from loom_ops._errors import LoomOpsError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["doubts_of", "opened", "reader"]


def reader(store: SQLiteStore) -> AgentRunner:
    """Build it."""

    async def reads(state: Any) -> Continue[Any]:
        return Continue(state)

    return AgentRunner(step=reads, store=store)


def doubts_of(rows: AgentRunner, run_id: str) -> list[dict[str, Any]]:
    """Return the commands of a run of which nobody knows whether they were made; other calls are simply made again."""
    return [call for call in rows.doubts(run_id) if call["name"] == "run_command"]


@contextmanager
def opened(db: str, *, existing: bool = True) -> Iterator[SQLiteStore]:
    """Open the database, and close it at the end.

    Raises:
        LoomOpsError: It is not there and has to be.
    """
    if existing and not Path(db).exists():
        raise LoomOpsError(
            f"cannot open {db}: there is no such database. Start with loom-ops supervise, or name another --db."
        )
    store = SQLiteStore(db)
    try:
        yield store
    finally:
        store.close()
