import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest
from loom_agents._errors import ToolError
from loom_agents._workspace.git.commit import CommitTool, branch_of
from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.undo.change_log import ChangeLog
from loom_agents._workspace.undo.change_rows import FileChange, Plan
from loom_agents._workspace.undo.file_images import Image, take

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not on this machine")
BRANCH = "loom/run"


def _git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.rstrip("\n")


@pytest.fixture
def repository(workspace: Workspace) -> Workspace:
    _git(workspace.root, "init", "-q", "-b", "main")
    _git(workspace.root, "add", "-A")
    _git(workspace.root, "commit", "-qm", "first")
    return workspace


@pytest.fixture
def log(tmp_path: Path) -> ChangeLog:
    return ChangeLog(tmp_path / "log")


def _written(workspace: Workspace, log: ChangeLog, path: str, text: str) -> None:
    def plan() -> Plan:
        return Plan([FileChange(path, take(workspace, path), Image(text.encode()))], {})

    log.apply(workspace, key=f"{path}/{text}", run_id="run", tool="write_file", plan=plan)


def _committed(workspace: Workspace, log: ChangeLog, message: str = "Do it", key: str = "") -> dict[str, object]:
    return asyncio.run(CommitTool(workspace, log).git_commit(message, key))


def test_a_commit_has_the_changes_of_the_run_and_nothing_else(repository: Workspace, log: ChangeLog) -> None:
    root = repository.root
    (root / "docs/guide.md").write_text("the user is in the middle of this\n")
    (root / "staged.txt").write_text("staged\n")
    _git(root, "add", "staged.txt")
    _written(repository, log, "src/app.py", "x = 1\n")
    _written(repository, log, "new/file.py", "y = 1\n")
    before = _git(root, "status", "--porcelain"), (root / ".git/index").read_bytes(), _git(root, "rev-parse", "HEAD")
    answer = _committed(repository, log, "Change it\n\nBecause.")
    assert (answer["branch"], answer["files"]) == (BRANCH, ["new/file.py", "src/app.py"])
    assert (
        _git(root, "status", "--porcelain"),
        (root / ".git/index").read_bytes(),
        _git(root, "rev-parse", "HEAD"),
    ) == before
    assert _git(root, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert _git(root, "log", "--format=%s", BRANCH).splitlines() == ["Change it", "first"]
    assert _git(root, "show", f"{BRANCH}:src/app.py") == "x = 1"


def test_the_next_commit_has_the_previous_one_as_parent_and_an_empty_one_is_refused(
    repository: Workspace, log: ChangeLog
) -> None:
    with pytest.raises(ToolError, match="has changed no file"):
        _committed(repository, log)
    _written(repository, log, "src/app.py", "x = 1\n")
    _committed(repository, log, "one")
    with pytest.raises(ToolError, match="nothing was changed since"):
        _committed(repository, log, "again")
    _written(repository, log, "src/app.py", "x = 2\n")
    assert _committed(repository, log, "two")["files"] == ["src/app.py"]
    assert _git(repository.root, "log", "--format=%s", BRANCH).splitlines() == ["two", "one", "first"]


def test_the_same_key_commits_once(repository: Workspace, log: ChangeLog) -> None:
    _written(repository, log, "src/app.py", "x = 1\n")
    first = _committed(repository, log, key="k")
    _written(repository, log, "src/app.py", "x = 2\n")
    assert _committed(repository, log, key="k") == first
    assert len(_git(repository.root, "log", "--format=%s", BRANCH).splitlines()) == 2


def test_no_hook_runs_and_no_signature_is_asked_for(repository: Workspace, log: ChangeLog) -> None:
    root = repository.root
    for hook in ("pre-commit", "commit-msg", "post-commit", "reference-transaction", "prepare-commit-msg"):
        file = root / ".git" / "hooks" / hook
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\ntouch {root}/hook-ran\nexit 1\n")
        file.chmod(0o755)
    _git(root, "config", "commit.gpgsign", "true")
    _written(repository, log, "src/app.py", "x = 1\n")
    _committed(repository, log)
    assert not (root / "hook-ran").exists()


def test_a_branch_that_is_checked_out_is_not_moved(repository: Workspace, log: ChangeLog) -> None:
    _written(repository, log, "src/app.py", "x = 1\n")
    _committed(repository, log)
    _git(repository.root, "checkout", "-q", "-f", BRANCH)
    _written(repository, log, "src/app.py", "x = 2\n")
    with pytest.raises(ToolError, match="loom/run is checked out"):
        _committed(repository, log)


def test_ignored_files_are_left_out_and_deleted_ones_are_deleted(repository: Workspace, log: ChangeLog) -> None:
    _written(repository, log, "ignored/x.txt", "x\n")
    _written(repository, log, "README.md", "x\n")
    (repository.root / "README.md").unlink()
    assert _committed(repository, log)["files"] == ["README.md"]
    assert "README.md" not in _git(repository.root, "ls-tree", "-r", "--name-only", BRANCH).split()


def test_a_repository_without_a_commit_and_a_folder_inside_a_repository_work(tmp_path: Path, log: ChangeLog) -> None:
    (tmp_path / "repo" / "inner").mkdir(parents=True)
    _git(tmp_path / "repo", "init", "-q")
    inner = Workspace.at(tmp_path / "repo" / "inner")
    _written(inner, log, "a.txt", "x\n")
    assert _committed(inner, log)["files"] == ["inner/a.txt"]


def test_without_a_repository_a_commit_is_an_error(workspace: Workspace, log: ChangeLog) -> None:
    _written(workspace, log, "a.txt", "x\n")
    with pytest.raises(ToolError, match="not in a git repository"):
        _committed(workspace, log)


@pytest.mark.parametrize("message", ["", "  \n", "x" * 10_001, "a\0b"])
def test_an_invalid_message_is_refused(repository: Workspace, log: ChangeLog, message: str) -> None:
    with pytest.raises(ToolError, match="the message is not 1 to"):
        _committed(repository, log, message)


@pytest.mark.parametrize(
    ("run_id", "branch"),
    [
        ("demo", "loom/demo"),
        ("team:sub:coder", "loom/team-sub-coder-9fb4f0"),
        ("a..b", "loom/a.b-"),
        ("x.lock", "loom/x-"),
        ("...", "loom/run-"),
        ("ü" * 90, "loom/run-"),
        ("a@{b", "loom/a-b-"),
    ],
)
def test_git_accepts_the_name_of_a_branch(run_id: str, branch: str) -> None:
    name = branch_of(run_id)
    assert name.startswith(branch[:-6] if run_id.startswith("team") else branch)
    assert subprocess.run(["git", "check-ref-format", "--branch", name], capture_output=True).returncode == 0
