"""What an agent changed in a workspace, so that every change happens once and can be taken back.

Theory of operation
-------------------
A change is the work of one tool call on one or more files, named by the call's idempotency key. It goes:

1. *plan*: read the files, work out what each shall be (nothing is written; a refusal ends here);
2. *intend*: store both images of every file and the tool's answer under the key, in one durable transaction;
3. *put*: bring each file from its image before to its image after (`file_images.put`, atomic for each);
4. *close*: mark the change as done.

A process may die between any two of these. The same call, made again with the same key, finds the change: done, it
gives the stored answer and touches nothing; intended, every file is either as before or as after, and those that
are as before are put. So a call takes effect once, however often it is made. When a file is neither, somebody
changed it meanwhile: what was put is brought back, and the call fails and says so. A disk that is full ends the same
way. There is no state in which half of a change stays without a word.

*Undo* goes the same road backwards: marked first, then every file that is as after is brought back, then closed.
It refuses when a file is not as the change left it, unless it is forced; killed, it is done again.

*Where.* One SQLite file beside the run's database, `<database>-undo` (`_change_rows`); the tools do not see it.

*Not covered.* Somebody who brings a file back by hand, between a kill and the next try, to exactly what it was before:
the change is made then. Extended attributes and hard links do not survive a change.
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

# One at a time in this process: two calls of one reply may want the same file, and the second must see the first.
_turn = threading.RLock()


class ChangeLog:
    """Keep the changes of all runs of one database.

    Args:
        path: The file; it is made with the first change.
        now: Tells the time, UTC.
        born: Tells when a run began, so that a run of the same name in a database that was made anew does not take
            the changes of the old one for its own. Without it, remove this file together with the database.
    """

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        born: Callable[[str], str] = lambda _: "",
    ) -> None:
        self.path = path
        self._born = born
        self._rows = ChangeRows(path, now, born)

    def make(self, workspace: Workspace, *, key: str, run_id: str, tool: str, plan: Callable[[], Plan]) -> Any:
        """Make a change once, whatever happened to earlier tries of the same key.

        Args:
            workspace: Where.
            key: Names the call; the same in every try.
            run_id: The run.
            tool: The tool.
            plan: Says what to change; called when nothing is known about the key.

        Returns:
            The answer of the plan, or of the try that came through.

        Raises:
            ToolError: The plan refuses, or a file was changed by somebody else meanwhile; nothing is changed then.

        Durability: the change is on disk when this returns, and so is what undoes it.
        """
        with _turn:
            known = self._rows.find(key, run_id)
            if known is None or known.status == "failed":
                known = self._rows.intend(workspace, key, run_id, tool, plan())
            if known.status == "done":
                return dict(known.answer)
            if known.status != "intended":
                raise ToolError(f"cannot repeat {tool}: this change was made before and then taken back.")
            self._put(workspace, known)
            with suppress(ToolError):  # the files are as they shall be, and whoever looks at them sees it
                self._rows.mark(known, "done")
            return dict(known.answer)

    def call_name(self, key: str, run_id: str) -> str:
        """Name a call so that no other one has the name, not even of a run of the same name in another database."""
        return f"{key}@{self._born(run_id)}"

    def changed_paths(self, run_id: str) -> list[str]:
        """Name the files that a run and its children have changed and not taken back, in order."""
        return self._rows.changed_paths(run_id)

    def standing(self, run_id: str, *, latest: int | None = None) -> list[Change]:
        """Read the changes of a run and its children that were not taken back, the latest first.

        Args:
            run_id: The run.
            latest: At most so many.
        """
        return self._rows.standing(run_id, latest=latest)

    def undo(self, run_id: str, *, every: bool = False, force: bool = False) -> list[Change]:
        """Take back the last change of a run, or all of them, the latest first.

        Args:
            run_id: The run; changes of its children count as its own.
            every: Take back all.
            force: Also when a file was changed since; what it holds now is lost then.

        Returns:
            What was taken back; empty when there is nothing.

        Raises:
            ToolError: A file is not as the change left it; nothing is taken back then.

        Durability: the files are on disk when this returns; killed in the middle, the same call goes on.
        """
        with _turn:
            wanted = self.standing(run_id, latest=None if every else 1)
            if not force:
                self._check_unchanged(wanted)
            for change in wanted:
                self._rows.mark(change, "undoing")
                workspace = Workspace.at(Path(change.root))
                failed = self._restore(workspace, change.key, change.files)
                if failed is not None:
                    raise ToolError(
                        f"cannot undo change {change.number}: {failed}. Mend that, and undo again to go on."
                    )
                self._rows.mark(change, "undone")
            return wanted

    # ------------------------------------------------------------------ the files

    def _put(self, workspace: Workspace, change: Change) -> None:
        """Bring all files to their images after; bring back what was put when that fails."""
        reached: list[FileChange] = []
        try:
            found = [(file, take(workspace, file.path)) for file in change.files]
            for file, now in found:
                if now == file.after:
                    reached.append(file)
            for file, now in found:
                if now not in (file.before, file.after):
                    raise ToolError(
                        f"cannot change {file.path!r}: somebody else changed it meanwhile. Nothing was"
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
                    f"cannot change {names}: {exc}; and what was changed of it cannot be brought back"
                    f" ({left}). Tell the user: loom-run undo does it when that is mended."
                ) from exc
            self._rows.mark(change, "failed")
            if isinstance(exc, ToolError):
                raise
            raise ToolError(f"cannot change the files: {exc.strerror or exc}. Nothing was changed.") from exc

    def _restore(self, workspace: Workspace, key: str, files: Sequence[FileChange]) -> str | None:
        """Bring files back to what they were before; what the system said when it refused."""
        try:
            for file in reversed(files):
                put(workspace, file.path, file.before, key=key)
                if file.before is None:
                    remove_folders(workspace, file.path, file.new_folders)
        except OSError as exc:
            return exc.strerror or str(exc)
        return None

    def _check_unchanged(self, changes: Sequence[Change]) -> None:
        """Walk backwards through what the files will be, and refuse where one is not as it was left."""
        now: dict[tuple[str, str], Image | None] = {}
        for change in changes:
            workspace = Workspace.at(Path(change.root))
            for file in change.files:
                place = (change.root, file.path)
                found = now[place] if place in now else take(workspace, file.path)
                if found not in (file.after, file.before):
                    raise ToolError(
                        f"cannot undo change {change.number} ({change.tool} {file.path}): the file was changed"
                        " since. Nothing was undone. Look at it; --force brings the old content back and drops what"
                        " is there now."
                    )
                now[place] = file.before
