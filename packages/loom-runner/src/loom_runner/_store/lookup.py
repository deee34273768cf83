"""Find a run; the error for a missing run lists the runs that exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loom_runner.errors import UnknownRun, UsageError

if TYPE_CHECKING:
    from loom_runner._model.records import RunRecord
    from loom_runner._store.protocol import Store, StoreReader

__all__ = ["find_run", "read_run", "read_run_if_any", "unknown_run"]


async def find_run(store: Store, run_id: str, verb: str) -> RunRecord:
    """Return a run's row.

    Args:
        verb: The operation, for the message: *cannot VERB 'ID'*.

    Raises:
        UnknownRun: There is no such run.
        UsageError: The id is not a string.
    """
    record = await store.get_run(run_id) if _is_encodable(run_id, verb) else None
    if record is None:
        raise unknown_run(store.reader, run_id, verb)
    return record


def read_run(reader: StoreReader, run_id: str, verb: str) -> RunRecord:
    """Return a run's row, like `find_run`, from a reader."""
    record = read_run_if_any(reader, run_id, verb)
    if record is None:
        raise unknown_run(reader, run_id, verb)
    return record


def read_run_if_any(reader: StoreReader, run_id: str, verb: str) -> RunRecord | None:
    """Return a run's row, like `read_run`; None if there is no such run."""
    return reader.get_run(run_id) if _is_encodable(run_id, verb) else None


def unknown_run(reader: StoreReader, run_id: str, verb: str) -> UnknownRun:
    """Return the error for a run that does not exist; it lists some that do."""
    there = [record.run_id for record in reader.list_runs(limit=6)]
    names = ", ".join(there[:5]) + (", ..." if len(there) > 5 else "")
    hint = f"Runs there: {names} (loom-runner list)." if there else "It holds no runs yet."
    if (copied := getattr(reader, "copied_without_log", None)) is not None:
        hint += f" The database is incomplete: {copied.text}."
    if run_id.endswith(".py"):
        hint = f"It is a module: name the run after it, {run_id} RUN. {hint}"
    return UnknownRun(f"cannot {verb} {run_id!r}: there is no such run in {reader.description}. {hint}", run_id=run_id)


def _is_encodable(run_id: str, verb: str) -> bool:
    """Return whether the id can be encoded as UTF-8; a lone surrogate cannot."""
    if not isinstance(run_id, str):
        raise UsageError(f"cannot {verb} {run_id!r:.60}: a run id is a string.")
    try:
        run_id.encode()
    except UnicodeEncodeError:
        return False
    return True
