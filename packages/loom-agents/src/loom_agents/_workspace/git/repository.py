"""Tools that read the workspace's git repository. They change nothing, not even git's index.

Files that are secret by their name are left out, and so are files outside the workspace when it is
a part of a repository.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loom_agents._errors import ToolError
from loom_agents._process.run import Ended, run_process
from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.secret_names import SECRET_FOLDERS, SECRET_NAMES

MAX_OUTPUT_BYTES = 40_000
TIMEOUT_S = 30.0

# No refresh of the index, no pager, no questions, and no watcher or diff program from the
# configuration.
_ENVIRONMENT = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_PAGER": "cat", "LC_ALL": "C"}
_GIT = (
    *("git", "--no-pager"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.quotePath=false"),
    *("-c", "core.hooksPath=/dev/null"),  # no hook runs, not even when a branch is moved
    *("-c", "diff.autoRefreshIndex=false"),  # `git diff` writes the index without asking for an optional lock
)
_NO_SECRETS = (
    *(f":(exclude,icase,glob)**/{name}" for name in SECRET_NAMES),
    *(f":(exclude,icase,glob)**/{name}/**" for name in SECRET_FOLDERS),
)


@dataclass(frozen=True, slots=True)
class GitTools:
    """Read the repository that contains the workspace."""

    workspace: Workspace

    async def git_status(self) -> dict[str, Any]:
        """Show the branch and the changed, staged and new files."""
        return await self._git("status", "--porcelain=v1", "--branch", "--untracked-files=all", "--", ".", *_NO_SECRETS)

    async def git_diff(self, path: str = ".", staged: bool = False) -> dict[str, Any]:
        """Show the changes that are not staged, or the staged changes.

        Args:
            path: A file or folder; `.` for all.
            staged: Show the staged changes instead of the others.
        """
        pathspec = f":(literal){self.workspace.shown(self.workspace.resolve(path))}"
        options = ("--no-ext-diff", "--no-textconv", "--no-color", "--relative", *(("--cached",) if staged else ()))
        return await self._git("diff", *options, "--", pathspec, *_NO_SECRETS)

    async def _git(self, verb: str, *arguments: str) -> dict[str, Any]:
        ended = await run_git(self.workspace.root, verb, *arguments)
        output = ended.output.decode("utf-8", "replace")
        if ended.timed_out:
            raise ToolError(f"cannot show the {verb}: git took longer than {TIMEOUT_S:.0f} s.")
        if "not a git repository" in output and ended.exit_code != 0:
            raise ToolError(f"cannot show the {verb}: the workspace is not in a git repository.")
        if ended.exit_code != 0:
            raise ToolError(f"cannot show the {verb}: git failed: {' '.join(output.split())[:300]}")
        return {"output": output, "output_bytes": ended.output_bytes, "truncated": ended.is_truncated}


async def run_git(
    folder: Path, verb: str, *arguments: str, environment: Mapping[str, str] | None = None, stdin: bytes = b""
) -> Ended:
    """Run git in a folder so that it asks no questions and starts no hooks or other programs."""
    return await run_process(
        (*_GIT, verb, *arguments),
        folder=folder,
        timeout_s=TIMEOUT_S,
        max_output_bytes=MAX_OUTPUT_BYTES,
        environment={**_ENVIRONMENT, **(environment or {})},
        stdin=stdin,
    )
