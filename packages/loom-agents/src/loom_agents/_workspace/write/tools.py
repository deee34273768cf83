"""Tools that change files of the workspace. Each call is one change, undone as a unit.

The tools use the runner's idempotency key, so an interrupted call is repeated without asking a
person, and its changes are not applied twice (see `change_log`).
"""

import difflib
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from loom_runner import current_run

from loom_agents._errors import ToolError, WorkspaceError
from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.undo.change_log import ChangeLog
from loom_agents._workspace.undo.change_rows import FileChange, Plan
from loom_agents._workspace.undo.file_images import MAX_FILE_BYTES, Image, take
from loom_agents._workspace.write.edit import as_bytes, as_text, check_no_mask, replaced, with_endings_of
from loom_agents._workspace.write.patch import FilePatch, apply_hunks, parse_patch

MAX_DIFF_CHARACTERS = 8_000

# Files that set the permissions of the agent. Only a person may write them.
_PERMISSION_FILES = frozenset({"loom.toml", ".mcp.json"})


@dataclass(frozen=True, slots=True)
class WriteTools:
    """Change the files of one workspace, and log the changes.

    Args:
        workspace: The workspace.
        changes: The log of the changes.
    """

    workspace: Workspace
    changes: ChangeLog

    def edit_file(self, path: str, old: str, new: str, idempotency_key: str = "") -> dict[str, Any]:
        """Replace one part of a text file. Read the file first, and copy `old` from it exactly.

        Args:
            path: The file, relative to the workspace.
            old: The text to replace, with enough surrounding lines that it occurs only once in the
                file.
            new: The text that replaces it; empty removes it.
        """

        def plan() -> Plan:
            name = self._target(path)
            before = self._existing(path, name)
            edit = replaced(path, as_text(path, before.data), old, new)
            return self._plan(FileChange(name, before, Image(as_bytes(edit.text), before.executable)), line=edit.line)

        return self._apply("edit_file", idempotency_key, plan)

    def write_file(self, path: str, text: str, idempotency_key: str = "") -> dict[str, Any]:
        """Write a complete text file, which is created or replaced. To change a part of a file, use
        edit_file.

        Args:
            path: The file, relative to the workspace; missing folders are created.
            text: The new content of the file.
        """

        def plan() -> Plan:
            name = self._target(path)
            before = take(self.workspace, name)
            old = "" if before is None else as_text(path, before.data)
            check_no_mask(path, old, text)
            content = text if before is None else with_endings_of(old, text)
            after = Image(content.encode("utf-8"), before is not None and before.executable)
            if before == after:
                raise ToolError(f"cannot write {path!r}: it already has exactly this content.")
            return self._plan(FileChange(name, before, after))

        return self._apply("write_file", idempotency_key, plan)

    def apply_patch(self, patch: str, idempotency_key: str = "") -> dict[str, Any]:
        """Apply a unified diff to one or several files: all of it, or nothing when one hunk does
        not match.

        Args:
            patch: The diff, with `--- a/FILE`, `+++ b/FILE` (/dev/null for a new or deleted file)
                and `@@` lines.
        """

        def plan() -> Plan:
            files = [change for one in parse_patch(patch) for change in self._patched(one)]
            for file in files:
                if [other.path for other in files].count(file.path) > 1:
                    raise ToolError(f"cannot apply the patch: it changes {file.path!r} twice.")
            if all(file.before == file.after for file in files):
                raise ToolError("cannot apply the patch: it changes nothing.")
            return self._plan(*files)

        return self._apply("apply_patch", idempotency_key, plan)

    def _apply(self, tool: str, key: str, plan: Callable[[], Plan]) -> dict[str, Any]:
        run = current_run()
        run_id = "" if run is None else run.run_id
        answer = self.changes.apply(
            self.workspace, key=key or f"{tool}/{uuid.uuid4().hex}", run_id=run_id, tool=tool, plan=plan
        )
        return dict(answer)

    def _plan(self, *files: FileChange, line: int | None = None) -> Plan:
        for file in files:
            if file.after is not None and len(file.after.data) > MAX_FILE_BYTES:
                raise ToolError(f"cannot write {file.path!r}: a file may have at most {MAX_FILE_BYTES} bytes.")
        changed = [{"path": file.path, "what": file.what, **_counts(file)} for file in files]
        diff = "".join(unified(file) for file in files)
        answer: dict[str, Any] = {"files": changed, "diff": diff[:MAX_DIFF_CHARACTERS]}
        if line is not None:
            answer["line"] = line
        if len(diff) > MAX_DIFF_CHARACTERS:
            answer |= {"truncated": True, "total": len(diff)}
        return Plan(files, answer)

    def _patched(self, patch: FilePatch) -> list[FileChange]:
        source = None if patch.source is None else self._target(patch.source)
        target = None if patch.target is None else self._target(patch.target)
        before = None if source is None else self._existing(patch.path, source)
        text = apply_hunks(patch, "" if before is None else as_text(patch.path, before.data))
        if target is None:
            assert source is not None
            if text:
                raise ToolError(
                    f"cannot apply the patch: it deletes {source!r} but not all of its lines. Read the file again."
                )
            return [FileChange(source, before, None)]
        check_no_mask(str(target), "" if before is None else as_text(str(source), before.data), text)
        executable = before is not None and before.executable if patch.executable is None else patch.executable
        after = Image(as_bytes(text), executable)
        if source == target:
            return [FileChange(target, before, after)]
        if take(self.workspace, target) is not None:
            raise ToolError(f"cannot apply the patch: {target!r} already exists.")
        moved = [] if source is None else [FileChange(source, before, None)]
        return [*moved, FileChange(target, None, after)]

    def _target(self, path: str) -> str:
        """Check a path for writing, and return the real path, relative to the workspace."""
        real = self.workspace.resolve(path)
        name = self.workspace.shown(real)
        if real == self.workspace.root or real.is_dir():
            raise WorkspaceError(f"cannot write {path!r}: it is a folder. Name a file.")
        if real.name.casefold() in _PERMISSION_FILES:
            raise WorkspaceError(f"cannot write {path!r}: it sets your permissions; only a person may write it.")
        try:
            name.encode()
        except UnicodeEncodeError as exc:
            raise WorkspaceError(f"cannot write {path!r}: its name is not valid text.") from exc
        return name

    def _existing(self, path: str, name: str) -> Image:
        image = take(self.workspace, name)
        if image is None:
            raise WorkspaceError(
                f"cannot change {path!r}: there is no such file. Use list_files, or write_file for a new one."
            )
        return image


def unified(file: FileChange) -> str:
    """Return a change of one file as a unified diff, or one line for a file that is not text."""
    sides: list[list[str]] = []
    for image in (file.before, file.after):
        data = b"" if image is None else image.data
        if b"\0" in data[:8192]:
            return f"{file.path}: not a text file\n"
        sides.append(data.decode("utf-8", "replace").replace("\r\n", "\n").split("\n"))
    for lines in sides:
        if lines[-1] == "":
            lines.pop()
    before = f"a/{file.path}" if file.before else "/dev/null"
    after = f"b/{file.path}" if file.after else "/dev/null"
    return "".join(f"{line}\n" for line in difflib.unified_diff(sides[0], sides[1], before, after, lineterm=""))


def _counts(file: FileChange) -> dict[str, int]:
    lines = unified(file).splitlines()[2:]
    added = sum(line.startswith("+") for line in lines)
    return {"added_lines": added, "removed_lines": sum(line.startswith("-") for line in lines)}
