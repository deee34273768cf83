import asyncio
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from loom_agents._errors import ToolError
from loom_agents._workspace.git import repository as repository_module
from loom_agents._workspace.git.repository import GitTools
from loom_agents._workspace.jail import Workspace

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not on this machine")


def _run(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(workspace: Workspace) -> Workspace:
    """The sample project as a repository in which everything is tracked, including secrets."""
    _run(workspace.root, "init", "-q", "-b", "main")
    _run(workspace.root, "add", "-A", "-f")
    _run(workspace.root, "commit", "-qm", "first")
    return workspace


def test_status_names_the_branch_and_changed_files(repository: Workspace) -> None:
    (repository.root / "README.md").write_text("changed\n")
    (repository.root / "new wörld.txt").write_text("x\n")
    answer = asyncio.run(GitTools(repository).git_status())
    assert answer["output"].splitlines() == ["## main", " M README.md", '?? "new wörld.txt"']
    assert answer["truncated"] is False


def test_diff_shows_unstaged_and_staged_changes(repository: Workspace) -> None:
    (repository.root / "src" / "app.py").write_text("def add(a, b):\n    return b + a\n")
    assert "+    return b + a" in asyncio.run(GitTools(repository).git_diff())["output"]
    assert asyncio.run(GitTools(repository).git_diff("docs"))["output"] == ""
    assert asyncio.run(GitTools(repository).git_diff(staged=True))["output"] == ""
    _run(repository.root, "add", "src/app.py")
    assert "+    return b + a" in asyncio.run(GitTools(repository).git_diff("src/app.py", staged=True))["output"]


def test_neither_status_nor_diff_shows_secrets(repository: Workspace) -> None:
    for name in (".env", "config/.ENV", "keys/id_rsa"):
        (repository.root / name).write_text("TOKEN=hunter3\n")
    (repository.root / "server.PEM").write_text("hunter3\n")
    tools = GitTools(repository)
    assert asyncio.run(tools.git_status())["output"] == "## main\n"
    assert asyncio.run(tools.git_diff())["output"] == ""
    with pytest.raises(ToolError, match="secrets"):
        asyncio.run(tools.git_diff(".env"))


def test_status_and_diff_change_nothing(repository: Workspace) -> None:
    index = repository.root / ".git" / "index"
    # An hour ago, so that git cannot take the unchanged file for one that is as young as the index
    # and leave it alone.
    os.utime(repository.root / "README.md", (time.time() - 3600,) * 2)
    before = (index.read_bytes(), index.stat().st_mtime_ns)
    asyncio.run(GitTools(repository).git_status())
    asyncio.run(GitTools(repository).git_diff())
    assert (index.read_bytes(), index.stat().st_mtime_ns) == before


def test_a_diff_program_of_the_repository_is_not_started(repository: Workspace) -> None:
    (repository.root / "README.md").write_text("changed\n")
    (repository.root / ".gitattributes").write_text("*.md diff=evil\n")
    for key in ("diff.external", "diff.evil.command", "diff.evil.textconv", "core.fsmonitor"):
        _run(repository.root, "config", key, "touch started; echo")
    asyncio.run(GitTools(repository).git_diff())
    asyncio.run(GitTools(repository).git_status())
    assert not (repository.root / "started").exists()


def test_a_workspace_inside_a_repository_shows_only_its_files(repository: Workspace) -> None:
    (repository.root / "README.md").write_text("changed\n")
    (repository.root / "docs" / "guide.md").write_text("changed\n")
    part = GitTools(Workspace.at(repository.root / "docs"))
    assert asyncio.run(part.git_status())["output"].splitlines()[1:] == [" M docs/guide.md"]
    assert "README" not in asyncio.run(part.git_diff())["output"]
    assert "a/guide.md" in asyncio.run(part.git_diff("guide.md"))["output"]


def test_a_long_diff_is_truncated_and_marked(repository: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository_module, "MAX_OUTPUT_BYTES", 1000)
    (repository.root / "README.md").write_text("line\n" * 5000)
    answer = asyncio.run(GitTools(repository).git_diff())
    assert answer["truncated"] is True
    assert answer["output_bytes"] > 20_000
    assert "bytes omitted" in answer["output"]


def test_a_folder_without_a_repository_is_a_clear_error(workspace: Workspace) -> None:
    with pytest.raises(ToolError, match="not in a git repository"):
        asyncio.run(GitTools(workspace).git_status())


def test_a_path_outside_is_refused(repository: Workspace) -> None:
    with pytest.raises(ToolError, match="not allowed"):
        asyncio.run(GitTools(repository).git_diff("../x"))
