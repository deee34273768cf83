"""Take back what a run has changed in files."""

from collections.abc import Iterator
from pathlib import Path

from loom_agents import ChangeLog
from loom_runner import RunBusy, SQLiteStore
from loom_runner.cli_base import write_error

from loom_run._lines import printable
from loom_run._reader import reader
from loom_run._setup import undo_log

_WORDS = {"created": "removed", "changed": "brought back", "deleted": "made again"}


def change_log(store: SQLiteStore) -> ChangeLog:
    """Open the log of what the runs of a database have changed."""

    def born(run_id: str) -> str:
        record = store.get_run(run_id)
        return "" if record is None else str(record.created_at)

    return ChangeLog(undo_log(Path(store.description)), born=born)


def changes_of(store: SQLiteStore, run_id: str) -> Iterator[str]:
    """Tell what a run has changed and not taken back, the latest first."""
    reader(store).get(run_id)
    changes = change_log(store).standing(run_id)
    if not changes:
        write_error(f"{run_id} has changed nothing, or all of it was taken back")
    for change in changes:
        files = ", ".join(f"{path} ({what})" for path, what in change.touched)
        yield printable(f"{change.number}  {change.at}  {change.run_id}  {change.tool}  {files}")


def take_back(store: SQLiteStore, run_id: str, *, every: bool = False, force: bool = False) -> Iterator[str]:
    """Take the last change back, or all of them.

    Raises:
        RunBusy: the run is at work.
        ToolError: a file was changed since.
    """
    reader(store).get(run_id)
    record = store.get_run(run_id)
    if record is not None and record.status == "running" and record.is_leased and not force:
        raise RunBusy(
            f"cannot undo what {run_id!r} changed: a process works on it, or was killed a moment ago. Wait until it"
            " stops; if you know that it is gone, use --force.",
            run_id=run_id,
        )
    undone = change_log(store).undo(run_id, every=every, force=force)
    if not undone:
        write_error(f"{run_id} has changed nothing, or all of it was taken back")
    for change in undone:
        for path, what in change.touched:
            yield printable(f"{path} {_WORDS[what]} (change {change.number}, {change.tool})")
