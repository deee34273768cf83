"""The log of an agent's changes in a workspace: every change is applied once and can be undone.

Theory of operation
-------------------
A change is the work of one tool call on one or more files, identified by the call's idempotency
key. Its steps:

1. *plan*: read the files and compute their new content (nothing is written; a refusal ends the
   change here);
2. *intend*: store the old and new images of every file and the tool's answer under the key, in one
   durable transaction;
3. *put*: replace the old image of each file by the new one (`file_images.put`, atomic for each
   file);
4. *mark*: set the status of the change to done.

A process may crash between any two steps. A repeated call with the same key finds the change. If it
is done, the stored answer is returned and nothing is written. If it is intended, every file has its
old or its new image, and those with the old one are put. So a call takes effect once, however often
it is repeated. If a file has neither image, someone else changed it in the meantime: the files that
were put are restored, and the call fails with an error. The same happens when the disk is full. A
change is never left half applied without an error.

*Undo* is the reverse: the change is marked first, then every file with its new image is restored,
then the change is marked again. It refuses when a file has neither image, unless it is forced.
After a crash, it can be repeated. The stored root of a change is only compared with the workspace
of the caller, never used: a database from elsewhere cannot say where files are written.

*Storage.* One SQLite file next to the run's database, `<database>-undo` (`change_rows`); the tools
cannot access it.

*Not covered.* If someone restores a file to its old image between a crash and the repeated call,
the change is applied again. Extended attributes and hard links are lost by a change.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loom_agents._errors import ToolError
from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.undo.change_rows import Change, ChangeRows, FileChange, Plan
from loom_agents._workspace.undo.file_images import Image, put, remove_folders, take

# One change at a time in this process: two calls of one reply may change the same file, one after
# the other.
_lock = threading.RLock()


class ChangeLog:
    """Log the changes of all runs of one database.

    Args:
        path: The file; created with the first change.
        now: Returns the current time, UTC.
        created_at: Returns the creation time of a run, which distinguishes runs with the same id
            when the database is deleted and created again. Without it, delete this file together
            with the database.
    """

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        created_at: Callable[[str], str] = lambda _: "",
    ) -> None:
        self.path = path
        self._created_at = created_at
        self._rows = ChangeRows(path, now, created_at)

    def apply(self, workspace: Workspace, *, key: str, run_id: str, tool: str, plan: Callable[[], Plan]) -> Any:
        """Apply a change once, even if earlier attempts with the same key were interrupted.

        Args:
            workspace: The workspace.
            key: Identifies the call; the same for every attempt.
            run_id: The run.
            tool: The tool.
            plan: Returns the change; called when no change with the key is stored.

        Returns:
            The answer of the plan; for a repeated call the stored answer.

        Raises:
            ToolError: The plan refuses, or someone else changed a file in the meantime; nothing is
                changed then.

        Durability: the change and the data to undo it are on disk when this returns.
        """
        with _lock:
            known = self._rows.find(key, run_id)
            if known is None or known.status == "failed":
                known = self._rows.intend(workspace, key, run_id, tool, plan())
            if known.status == "done":
                return dict(known.answer)
            if known.status != "intended":
                raise ToolError(f"cannot repeat {tool}: this change was made before and then undone.")
            _check_paths(workspace, known)
            self._put(workspace, known)
            with suppress(ToolError):  # the files have their new images, which a repeated call finds out
                self._rows.mark(known, "done")
            return dict(known.answer)

    def call_name(self, key: str, run_id: str) -> str:
        """Return a unique name of a call, even if another database has a run with this id."""
        return f"{key}@{self._created_at(run_id)}"

    def changed_paths(self, run_id: str) -> list[str]:
        """Return the paths that a run and its children changed, without undone changes, sorted."""
        return self._rows.changed_paths(run_id)

    def active(self, run_id: str, *, latest: int | None = None) -> list[Change]:
        """Return the changes of a run and its children that are not undone, the latest first.

        Args:
            run_id: The run.
            latest: The most changes to return; None for all.
        """
        return self._rows.active(run_id, latest=latest)

    def undo(
        self,
        run_id: str,
        workspace: Workspace,
        *,
        every: bool = False,
        force: bool = False,
        show: Callable[[list[tuple[str, str]]], None] = lambda _: None,
    ) -> list[Change]:
        """Undo the last change of a run, or all of them, the latest first.

        Args:
            run_id: The run; the changes of its children are included.
            workspace: The workspace of the caller. What is stored about a change says only which
                files in it are restored, and each path is checked as one from a model is.
            every: Undo all changes.
            force: Also undo changes of files that were changed since; their present content is
                lost.
            show: Called with the files of each change (`Change.touched`) before anything is
                written.

        Returns:
            The changes that were undone; empty when there are none.

        Raises:
            ToolError: A file was changed since, a change was made in another workspace, or a path
                is refused; nothing is undone then.

        Durability: the files are on disk when this returns; after a crash, the same call continues.
        """
        with _lock:
            changes = self.active(run_id, latest=None if every else 1)
            for change in changes:
                self._check_place(workspace, change)
            if not force:
                self._check_unchanged(workspace, changes)
            for change in changes:
                show(change.touched)
            for change in changes:
                self._rows.mark(change, "undoing")
                failed = self._restore(workspace, change.key, change.files)
                if failed is not None:
                    raise ToolError(
                        f"cannot undo change {change.number}: {failed}. Fix that, and undo again to continue."
                    )
                self._rows.mark(change, "undone")
            return changes

    # ------------------------------------------------------------------ the files

    def _put(self, workspace: Workspace, change: Change) -> None:
        """Give all files their new images; if that fails, restore those that were put."""
        reached: list[FileChange] = []
        try:
            found = [(file, take(workspace, file.path)) for file in change.files]
            for file, now in found:
                if now == file.after:
                    reached.append(file)
            for file, now in found:
                if now not in (file.before, file.after):
                    raise ToolError(
                        f"cannot change {file.path!r}: someone else changed it in the meantime. Nothing was"
                        " changed. Read it again."
                    )
            for file, now in found:
                if now != file.after:
                    put(workspace, file.path, file.after, key=change.key)
                    reached.append(file)
        except (OSError, ToolError) as exc:
            left = self._restore(workspace, change.key, reached)
            if left is not None:
                names = ", ".join(file.path for file in change.files)
                raise ToolError(
                    f"cannot change {names}: {exc}; and files that were already changed cannot be restored"
                    f" ({left}). Tell the user to fix that and to run loom-run undo."
                ) from exc
            self._rows.mark(change, "failed")
            if isinstance(exc, ToolError):
                raise
            raise ToolError(f"cannot change the files: {exc.strerror or exc}. Nothing was changed.") from exc

    def _restore(self, workspace: Workspace, key: str, files: Sequence[FileChange]) -> str | None:
        """Restore the old images of files; return the error of the system, or None."""
        try:
            for file in reversed(files):
                put(workspace, file.path, file.before, key=key)
                if file.before is None:
                    remove_folders(workspace, file.path, file.new_folders)
        except OSError as exc:
            return exc.strerror or str(exc)
        return None

    def _check_place(self, workspace: Workspace, change: Change) -> None:
        """Check that every path of a stored change is a file of this workspace, without links."""
        if change.root != str(workspace.root):
            raise ToolError(
                f"cannot undo change {change.number}: it was made in {change.root}, and this is {workspace.root}."
                " Nothing was undone. Go to that folder, or name it with --workspace."
            )
        _check_paths(workspace, change)

    def _check_unchanged(self, workspace: Workspace, changes: Sequence[Change]) -> None:
        """Check that undoing each change, the latest first, will find the image that it wrote."""
        now: dict[str, Image | None] = {}
        for change in changes:
            for file in change.files:
                place = file.path
                found = now[place] if place in now else take(workspace, file.path)
                if found not in (file.after, file.before):
                    raise ToolError(
                        f"cannot undo change {change.number} ({change.tool} {file.path}): the file was changed"
                        " since. Nothing was undone. Check the file; --force restores the old content and discards"
                        " the present one."
                    )
                now[place] = file.before


def _check_paths(workspace: Workspace, change: Change) -> None:
    for file in change.files:
        if workspace.resolve(file.path) != workspace.root / file.path:
            raise ToolError(
                f"cannot use change {change.number}: {file.path!r} leads through a link. Nothing was changed."
            )
