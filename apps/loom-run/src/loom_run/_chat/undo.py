"""Undo what a run has changed in files."""

from collections.abc import Iterator
from pathlib import Path

from flow_xray.terminal import visible_line
from loom_agents import ChangeLog, Workspace
from loom_runner import RunBusy, Runs, SQLiteStore
from loom_runner.cli_base import write_error

from loom_run._config.setup import undo_path

_UNDONE = {"created": "removed", "changed": "restored", "deleted": "restored"}


def open_change_log(store: SQLiteStore) -> ChangeLog:
    """Open the log of the file changes made by the runs of a database."""

    def created_at(run_id: str) -> str:
        record = store.reader.get_run(run_id)
        return "" if record is None else str(record.created_at)

    return ChangeLog(undo_path(Path(store.address)), created_at=created_at)


def list_changes(store: SQLiteStore, run_id: str) -> Iterator[str]:
    """List what a run has changed and what is not undone, one line for each change, the latest
    first.
    """
    Runs(store).get(run_id)
    changes = open_change_log(store).active(run_id)
    if not changes:
        write_error(_nothing_to_undo(run_id))
    for change in changes:
        files = ", ".join(f"{path} ({what})" for path, what in change.touched)
        yield visible_line(f"{change.number}  {change.at}  {change.run_id}  {change.tool}  {files}")


def undo_changes(
    store: SQLiteStore, run_id: str, folder: Path, *, every: bool = False, force: bool = False
) -> Iterator[str]:
    """Undo the last change of a run, or all of them; yield one line for each file.

    What will be written is shown on stderr before it is.

    Args:
        store: The database.
        run_id: The run.
        folder: The workspace, which is never taken from the database.
        every: Undo all changes.
        force: Undo although a file was changed since, or a process drives the run.

    Raises:
        RunBusy: A process is driving the run.
        ToolError: A file has been changed since, or is not in the workspace.
    """
    run = Runs(store).get(run_id)
    if run["status"] == "running" and run["held_by"] is not None and not force:
        raise RunBusy(
            f"cannot undo what {run_id!r} changed: a process is driving the run, or was killed a moment ago. Wait"
            " until it stops; if you know that it is gone, use --force.",
            run_id=run_id,
        )
    workspace = Workspace.at(folder, private=[Path(store.address)])

    def show(files: list[tuple[str, str]]) -> None:
        for path, what in files:
            write_error(visible_line(f"{workspace.root / path}: will be {_UNDONE[what]}"))

    undone = open_change_log(store).undo(run_id, workspace, every=every, force=force, show=show)
    if not undone:
        write_error(_nothing_to_undo(run_id))
    for change in undone:
        for path, what in change.touched:
            yield visible_line(f"{path} {_UNDONE[what]} (change {change.number}, {change.tool})")


def _nothing_to_undo(run_id: str) -> str:
    return f"{run_id} has changed no files, or every change is undone"
