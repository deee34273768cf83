"""Find a run, or say which runs there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loom_runner.errors import UnknownRun, UsageError

if TYPE_CHECKING:
    from loom_runner._model.records import RunRecord
    from loom_runner._store.protocol import Store

__all__ = ["check_run_id", "find_run", "unknown_run"]


def find_run(store: Store, run_id: str, verb: str) -> RunRecord:
    """Read a run's row.

    Raises:
        UnknownRun: There is no such run; `verb` says what was to be done with it.
    """
    try:
        run_id.encode()
    except UnicodeEncodeError:  # SQLite would not take it, and no run has such a name
        raise unknown_run(store, run_id, verb) from None
    record = store.get_run(run_id)
    if record is None:
        raise unknown_run(store, run_id, verb)
    return record


def unknown_run(store: Store, run_id: str, verb: str) -> UnknownRun:
    """Say that there is no such run, and which there are."""
    there = [record.run_id for record in store.list_runs(limit=6)]
    names = ", ".join(there[:5]) + (", ..." if len(there) > 5 else "")
    hint = f"Runs there: {names} (loom-runner list)." if there else "It holds no runs yet."
    return UnknownRun(f"cannot {verb} {run_id!r}: there is no such run in {store.description}. {hint}", run_id=run_id)


def check_run_id(run_id: str, verb: str) -> None:
    """Refuse a name that cannot be shown, typed or told apart.

    Raises:
        UsageError: The name is empty, too long, or holds what cannot be printed.
    """
    if not run_id.strip() or not run_id.isprintable() or len(run_id) > 200 or "#" in run_id:
        raise UsageError(
            f"cannot {verb} {run_id!r}: a run id has 1 to 200 printable characters, not only spaces, and no '#'."
        )
