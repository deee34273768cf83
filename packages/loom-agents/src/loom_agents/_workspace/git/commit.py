"""The `git_commit` tool: commit the changes of a run on a branch of this run.

It never moves a branch of the user, and changes neither the working tree nor the index: the commit
is built in a temporary index, from the branch `loom/<run>` (or from HEAD when that does not exist
yet) and the files that the run has changed. The branch is moved by compare-and-set. No hook, filter
or editor runs, nothing is signed, and git asks no questions. A file that a configured filter would
change (as with git-lfs or git-crypt) is refused, because without the filter its content would be
committed as it is.

The commit has the call's idempotency key as a trailer. An interrupted call is repeated, and finds
the commit that it may have created before.
"""

import hashlib
import re
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loom_runner import current_run

from loom_agents._errors import ToolError
from loom_agents._process.run import Ended
from loom_agents._workspace.git.invocation import Repository
from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.undo.change_log import ChangeLog

TRAILER = "Loom-Call"
MAX_MESSAGE_CHARACTERS = 10_000

_IDENTITY = {
    "GIT_AUTHOR_NAME": "loom-run",
    "GIT_AUTHOR_EMAIL": "loom-run@localhost",
    "GIT_COMMITTER_NAME": "loom-run",
    "GIT_COMMITTER_EMAIL": "loom-run@localhost",
}


@dataclass(frozen=True, slots=True)
class CommitTool:
    """Commit the changes of a run in one workspace.

    Args:
        workspace: The workspace; it may be a folder inside a repository.
        changes: The log of the changes of runs.
    """

    workspace: Workspace
    changes: ChangeLog

    async def git_commit(self, message: str, idempotency_key: str = "") -> dict[str, Any]:
        """Commit the files that you changed, on the branch of this run. Nothing else is committed,
        nothing is pushed.

        Args:
            message: The first line says what the commit does; details after a blank line.
        """
        message = message.strip()
        if not message or len(message) > MAX_MESSAGE_CHARACTERS or "\0" in message:
            raise ToolError(f"cannot commit: the message is not 1 to {MAX_MESSAGE_CHARACTERS} characters.")
        repository = await Repository.open(self.workspace.root, "commit")
        run = current_run()
        run_id = "run" if run is None else run.run_id
        branch = branch_of(run_id)
        call = self.changes.call_name(idempotency_key or uuid.uuid4().hex, run_id)
        key = hashlib.sha256(call.encode()).hexdigest()[:32]
        head = await _git(repository, "rev-parse", "--verify", "--quiet", "HEAD^{commit}", may_fail=True)
        tip = await _git(
            repository, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}^{{commit}}", may_fail=True
        )
        if tip:
            existing = await _git(
                repository, "rev-list", "--fixed-strings", f"--grep={TRAILER}: {key}", "-1", f"refs/heads/{branch}"
            )
            if existing:
                return await self._describe(repository, existing, branch)
            await self._check_not_checked_out(repository, branch)
        paths = await self._not_ignored(repository, self.changes.changed_paths(run_id))
        await self._check_not_filtered(repository, paths)
        if not paths:
            raise ToolError("cannot commit: this run has changed no file. Use edit_file or write_file first.")
        commit = await self._build(repository, tip or head, paths, f"{message}\n\n{TRAILER}: {key}\n")
        await _git(repository, "update-ref", "-m", "loom-run", f"refs/heads/{branch}", commit, tip or "0" * len(commit))
        return await self._describe(repository, commit, branch)

    async def _build(self, repository: Repository, parent: str, paths: list[str], message: str) -> str:
        """Create the commit without changing the user's index, and return its hash."""
        with tempfile.TemporaryDirectory() as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            if parent:
                await _git(repository, "read-tree", parent, environment=index)
            listed = "".join(f"{path}\0" for path in paths).encode()
            await _git(
                repository, "update-index", "--add", "--remove", "-z", "--stdin", environment=index, stdin=listed
            )
            tree = await _git(repository, "write-tree", environment=index)
            if parent and tree == await _git(repository, "rev-parse", f"{parent}^{{tree}}"):
                raise ToolError("cannot commit: nothing was changed since the last commit.")
            name = await _git(repository, "config", "user.name", may_fail=True)
            identity = {} if name else _IDENTITY
            parents = ("-p", parent) if parent else ()
            return await _git(repository, "commit-tree", tree, *parents, environment=identity, stdin=message.encode())

    async def _describe(self, repository: Repository, commit: str, branch: str) -> dict[str, Any]:
        """Return the branch, the hash and the files of a commit."""
        files = await _git(repository, "diff-tree", "--no-commit-id", "--root", "-r", "-z", "--name-only", commit)
        return {"branch": branch, "commit": commit, "files": [name for name in files.split("\0") if name.strip()]}

    async def _check_not_checked_out(self, repository: Repository, branch: str) -> None:
        trees = await _git(repository, "worktree", "list", "--porcelain")
        if f"branch refs/heads/{branch}" in trees.splitlines():
            raise ToolError(
                f"cannot commit: the branch {branch} is checked out, and its files would not match the new commit."
                " Tell the user to switch to another branch."
            )

    async def _not_ignored(self, repository: Repository, paths: list[str]) -> list[str]:
        if not paths:
            return []
        listed = "".join(f"{path}\0" for path in paths).encode()
        ended = await run_git(repository, "check-ignore", "-z", "--stdin", stdin=listed)
        if ended.exit_code not in {0, 1}:  # 1: no path is ignored
            raise _failed("check-ignore", ended)
        ignored = set(ended.output.decode("utf-8", "replace").split("\0"))
        return [path for path in paths if path not in ignored]

    async def _check_not_filtered(self, repository: Repository, paths: list[str]) -> None:
        if not repository.filters or not paths:
            return
        listed = "".join(f"{path}\0" for path in paths).encode()
        found = (await _git(repository, "check-attr", "-z", "--stdin", "filter", stdin=listed)).split("\0")
        for path, name in zip(found[::3], found[2::3], strict=False):
            if name in repository.filters:
                raise ToolError(
                    f"cannot commit: {path} is stored through the filter {name!r}, a program that git_commit does not"
                    " run. Tell the user to commit it."
                )


async def run_git(
    repository: Repository,
    verb: str,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> Ended:
    """Run git in the repository of the workspace."""
    return await repository.run(verb, *arguments, environment=environment, stdin=stdin)


async def _git(
    repository: Repository,
    verb: str,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    may_fail: bool = False,
) -> str:
    ended = await run_git(repository, verb, *arguments, environment=environment, stdin=stdin)
    if ended.exit_code != 0 and not may_fail:
        raise _failed(verb, ended)
    return ended.output.decode("utf-8", "replace").strip("\n") if ended.exit_code == 0 else ""


def branch_of(run_id: str) -> str:
    """Return the branch of a run: `loom/` and its id, with a hash if git forbids the id."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", run_id).strip("-.")
    name = re.sub(r"\.{2,}", ".", name).removesuffix(".lock")[:80]
    if name != run_id:
        name = f"{name or 'run'}-{hashlib.sha256(run_id.encode()).hexdigest()[:6]}"
    return f"loom/{name}"


def _failed(verb: str, ended: Ended) -> ToolError:
    output = " ".join(ended.errors.decode("utf-8", "replace").split())[:300]
    return ToolError(f"cannot commit: git {verb} failed: {output or f'exit code {ended.exit_code}'}")
