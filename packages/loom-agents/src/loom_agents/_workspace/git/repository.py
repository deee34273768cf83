"""Tools that read the workspace's git repository. They change nothing, not even git's index.

They show only files that `read_file` would show: no secrets by their name, no private files of the
application, none outside the workspace. A file that was renamed from a secret one is left out, too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from loom_agents._errors import ToolError, WorkspaceError
from loom_agents._process.run import Ended
from loom_agents._workspace.git.invocation import MAX_OUTPUT_BYTES, TIMEOUT_S, Repository, failure
from loom_agents._workspace.jail import Workspace

MAX_FILES: Final = 2_000
_RENAMES: Final = "-M10%"  # a file that has a tenth of a secret one, which was deleted, is not shown either
_MAX_LIST_BYTES: Final = 4_000_000
_NO_PROGRAMS: Final = ("--no-ext-diff", "--no-textconv", "--no-color", "--submodule=short", "--ignore-submodules=dirty")


@dataclass(frozen=True, slots=True)
class GitTools:
    """Read the repository that contains the workspace."""

    workspace: Workspace

    async def git_status(self) -> dict[str, Any]:
        """Show the branch and the changed, staged and new files."""
        purpose = "show the status"
        repository = await Repository.open(self.workspace.root, purpose)
        options = ("--porcelain=v1", "--branch", "-z", "--untracked-files=all", "--ignore-submodules=dirty")
        ended = await _listed(repository, purpose, "status", *options, "--", ".")
        prefix = self.workspace.root.relative_to(repository.top).parts
        lines = []
        for line, *names in _status_entries(ended.output):
            if all(self._is_shown(_below(name, prefix)) for name in names):
                lines.append(" -> ".join((line + _quoted(names[0]), *map(_quoted, names[1:]))) if names else line)
        text = "".join(f"{line}\n" for line in lines)
        output = text.encode("utf-8", "replace")
        shown = output[:MAX_OUTPUT_BYTES].decode("utf-8", "ignore")
        return {"output": shown, "output_bytes": len(output), "truncated": len(output) > MAX_OUTPUT_BYTES}

    async def git_diff(self, path: str = ".", staged: bool = False) -> dict[str, Any]:
        """Show the changes that are not staged, or the staged changes.

        Args:
            path: A file or folder; `.` for all.
            staged: Show the staged changes instead of the others.
        """
        purpose = "show the diff"
        wanted = PurePosixPath(self.workspace.shown(self.workspace.resolve(path)))
        repository = await Repository.open(self.workspace.root, purpose)
        options = (*_NO_PROGRAMS, "--relative", *(("--cached",) if staged else ()))
        listed = await _listed(repository, purpose, "diff", *options, "--name-status", "-z", _RENAMES, "--", ".")
        shown: list[str] = []
        hidden: list[str] = []
        for names in _changed_names(listed.output):
            visible = all(self._is_shown(PurePosixPath(name)) for name in names)
            if not visible:
                hidden += names
            elif PurePosixPath(names[-1]).is_relative_to(wanted) or wanted == PurePosixPath():
                shown += names
        if not shown:
            return {"output": "", "output_bytes": 0, "truncated": False}
        if len(shown) + len(hidden) > MAX_FILES:
            raise ToolError(
                f"cannot {purpose}: {len(shown) + len(hidden)} files are changed; the limit is {MAX_FILES}."
                " Use git_status, and read_file for single files."
            )
        places = (*(f":(literal){name}" for name in shown), *(f":(exclude,literal){name}" for name in hidden))
        ended = _checked(
            purpose, await repository.run("diff", *options, "--", *places, max_output_bytes=MAX_OUTPUT_BYTES)
        )
        text = ended.output.decode("utf-8", "replace")
        return {"output": text, "output_bytes": ended.output_bytes, "truncated": ended.is_truncated}

    def _is_shown(self, path: PurePosixPath | None) -> bool:
        """Report whether `read_file` would show a file, if it exists."""
        if path is None:
            return False
        try:
            self.workspace.resolve(str(path))
        except WorkspaceError:
            # A link is shown as its target's name, which is the content that git stores for it.
            return (self.workspace.root / path).is_symlink() and not self.workspace.is_hidden(path)
        return True


async def _listed(repository: Repository, purpose: str, verb: str, *arguments: str) -> Ended:
    ended = _checked(purpose, await repository.run(verb, *arguments, max_output_bytes=_MAX_LIST_BYTES))
    if ended.is_truncated:
        raise ToolError(f"cannot {purpose}: too many files are changed. Use list_files and read_file.")
    return ended


def _checked(purpose: str, ended: Ended) -> Ended:
    if ended.timed_out:
        raise ToolError(f"cannot {purpose}: git took longer than {TIMEOUT_S:.0f} s.")
    if ended.exit_code != 0:
        raise ToolError(f"cannot {purpose}: {failure('git failed', ended)}")
    return ended


def _pieces(output: bytes) -> Iterator[str]:
    return iter(output.decode("utf-8", "surrogateescape").split("\0"))


def _status_entries(output: bytes) -> Iterator[tuple[str, ...]]:
    """Yield the line of the branch, then for each file its status and its names, the old one
    first.
    """
    pieces = _pieces(output)
    for piece in pieces:
        if piece.startswith("## "):
            yield (piece,)
        elif piece:
            status, name = piece[:3], piece[3:]
            yield (status, next(pieces, ""), name) if status[0] in "RC" or status[1] in "RC" else (status, name)


def _changed_names(output: bytes) -> Iterator[tuple[str, ...]]:
    """Yield the names of each changed file: one, or the old and the new one."""
    pieces = _pieces(output)
    for status in pieces:
        if status:
            yield (next(pieces, ""), next(pieces, "")) if status[0] in "RC" else (next(pieces, ""),)


def _below(name: str, prefix: tuple[str, ...]) -> PurePosixPath | None:
    """Return a name relative to the workspace; None for a file outside it."""
    parts = PurePosixPath(name).parts
    return PurePosixPath(*parts[len(prefix) :]) if parts[: len(prefix)] == prefix else None


def _quoted(name: str) -> str:
    """Return a name as git shows it: in quotes when it has a space or an unusual character."""
    if name.isprintable() and not set(name) & {" ", '"', "\\"}:
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{"".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in escaped)}"'
