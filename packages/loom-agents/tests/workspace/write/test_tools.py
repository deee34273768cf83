import os
import stat
from pathlib import Path
from typing import Any

import pytest
from loom_agents._errors import ToolError, WorkspaceError
from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.undo import file_images
from loom_agents._workspace.undo.change_log import ChangeLog
from loom_agents._workspace.write.tools import WriteTools


@pytest.fixture
def tools(workspace: Workspace, tmp_path: Path) -> WriteTools:
    return WriteTools(workspace, ChangeLog(tmp_path / "runs.sqlite-undo"))


def _files(workspace: Workspace) -> dict[str, bytes]:
    return {
        str(path.relative_to(workspace.root)): path.read_bytes()
        for path in sorted(workspace.root.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def test_an_edit_changes_one_place_and_returns_the_diff(tools: WriteTools) -> None:
    answer = tools.edit_file("src/app.py", "a + b", "a - b")
    assert (tools.workspace.root / "src" / "app.py").read_text() == "def add(a, b):\n    return a - b\n"
    assert answer["files"] == [{"path": "src/app.py", "what": "changed", "added_lines": 1, "removed_lines": 1}]
    assert answer["line"] == 2
    assert answer["diff"] == (
        "--- a/src/app.py\n+++ b/src/app.py\n@@ -1,2 +1,2 @@\n def add(a, b):\n-    return a + b\n+    return a - b\n"
    )


@pytest.mark.parametrize("mode", [0o750, 0o640, 0o600, 0o4755])
def test_the_mode_of_a_file_stays(tools: WriteTools, mode: int) -> None:
    file = tools.workspace.root / "src" / "app.py"
    file.chmod(mode)
    tools.edit_file("src/app.py", "a + b", "a - b")
    assert stat.S_IMODE(file.stat().st_mode) == mode


def test_a_new_file_gets_its_folders(tools: WriteTools) -> None:
    answer = tools.write_file("new/deep/file.txt", "text\n")
    assert (tools.workspace.root / "new/deep/file.txt").read_text() == "text\n"
    assert answer["files"][0]["what"] == "created"
    assert not stat.S_IMODE((tools.workspace.root / "new/deep/file.txt").stat().st_mode) & 0o111


def test_a_replaced_file_keeps_line_endings_and_mark(tools: WriteTools) -> None:
    file = tools.workspace.root / "win.txt"
    file.write_bytes(b"\xef\xbb\xbfa\r\nb\r\n")
    tools.write_file("win.txt", "x\ny\n")
    assert file.read_bytes() == b"\xef\xbb\xbfx\r\ny\r\n"


def test_a_link_inside_the_workspace_changes_its_target_and_stays_a_link(tools: WriteTools) -> None:
    tools.edit_file("link_in", "# Sample", "# Changed")
    assert (tools.workspace.root / "link_in").is_symlink()
    assert (tools.workspace.root / "README.md").read_text().startswith("# Changed")


@pytest.mark.parametrize(
    "path",
    [
        "../outside.txt", "link_out", "link_env", "link_folder/outside.txt", ".env", "keys/id_rsa", ".git/hooks/pre-commit",
        "/etc/passwd", "", "src", ".", "loom.toml", "sub/.MCP.json", "docs/../x", "a\0b", "README.md/x", "\udcff.txt",
    ],
)  # fmt: skip
def test_a_path_that_the_agent_may_not_write_is_refused(tools: WriteTools, path: str) -> None:
    before = _files(tools.workspace), (tools.workspace.root.parent / "outside.txt").read_text()
    with pytest.raises(ToolError):
        tools.write_file(path, "x\n")
    with pytest.raises(ToolError):
        tools.edit_file(path, "outside", "inside")
    assert (_files(tools.workspace), (tools.workspace.root.parent / "outside.txt").read_text()) == before


def test_the_database_and_the_log_of_changes_are_not_written(tmp_path: Path) -> None:
    workspace = Workspace.at(tmp_path, private=[tmp_path / "runs.sqlite"])
    tools = WriteTools(workspace, ChangeLog(tmp_path / "runs.sqlite-undo"))
    for path in ("runs.sqlite", "runs.sqlite-undo", "runs.sqlite-wal"):
        with pytest.raises(WorkspaceError, match="private file of the application"):
            tools.write_file(path, "x")


def test_a_folder_that_is_replaced_by_a_link_is_not_followed(
    tools: WriteTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, outside = tools.workspace.root, tools.workspace.root.parent / "elsewhere"
    outside.mkdir()
    real = file_images.put

    def swap(workspace: Workspace, path: str, *rest: Any, **named: Any) -> None:
        (root / "docs").rename(root / "docs2")
        (root / "docs").symlink_to(outside)
        real(workspace, path, *rest, **named)

    monkeypatch.setattr("loom_agents._workspace.undo.change_log.put", swap)
    with pytest.raises(ToolError):
        tools.write_file("docs/new.md", "x\n")
    assert list(outside.iterdir()) == []


def test_a_patch_changes_several_files_or_none(tools: WriteTools) -> None:
    patch = (
        "--- a/src/app.py\n+++ b/src/app.py\n@@ -1,2 +1,2 @@\n def add(a, b):\n-    return a + b\n+    return b + a\n"
        "--- /dev/null\n+++ b/new.txt\n@@ -0,0 +1 @@\n+new\n"
        "diff --git a/sub/y.txt b/sub/y.txt\ndeleted file mode 100644\n--- a/sub/y.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-{}\n"
    )
    before = _files(tools.workspace)
    with pytest.raises(ToolError, match="hunk 1 of 'sub/y.txt'"):
        tools.apply_patch(patch.format("other"))
    assert _files(tools.workspace) == before
    answer = tools.apply_patch(patch.format("y whales"))
    assert [(file["path"], file["what"]) for file in answer["files"]] == [
        ("src/app.py", "changed"),
        ("new.txt", "created"),
        ("sub/y.txt", "deleted"),
    ]
    assert "b + a" in (tools.workspace.root / "src/app.py").read_text()
    assert not (tools.workspace.root / "sub/y.txt").exists()


def test_a_patch_renames_and_changes_the_mode(tools: WriteTools) -> None:
    tools.apply_patch(
        "diff --git a/src/app.py b/src/main.py\nrename from src/app.py\nrename to src/main.py\n"
        "diff --git a/keep.log b/keep.log\nold mode 100644\nnew mode 100755\n"
    )
    root = tools.workspace.root
    assert not (root / "src/app.py").exists()
    assert (root / "src/main.py").read_text().startswith("def add")
    assert os.access(root / "keep.log", os.X_OK)


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ("--- a/none\n+++ b/none\n@@ -1 +1 @@\n-a\n+b\n", "no such file"),
        ("--- /dev/null\n+++ b/README.md\n@@ -0,0 +1 @@\n+x\n", "already exists"),
        ("--- a/sub/y.txt\n+++ /dev/null\n@@ -0,0 +0,0 @@\n", "not all of its lines"),
        ("diff --git a/sub/y.txt b/keep.log\nrename from sub/y.txt\nrename to keep.log\n", "already exists"),
        ("diff --git a/keep.log b/keep.log\nold mode 100644\nnew mode 100644\n", "changes nothing"),
        ("--- a/.env\n+++ b/.env\n@@ -1 +1 @@\n-TOKEN=hunter2\n+TOKEN=x\n", "secrets"),
        ("--- a/../outside.txt\n+++ b/../outside.txt\n@@ -1 +1 @@\n-outside\n+x\n", "not allowed"),
        (
            "--- a/keep.log\n+++ b/keep.log\n@@ -1 +1 @@\n-log\n+x\n--- a/./keep.log\n+++ b/./keep.log\n@@ -1 +1 @@\n-log\n+y\n",
            "twice",
        ),
    ],
)
def test_a_patch_that_cannot_be_applied_changes_nothing(tools: WriteTools, patch: str, message: str) -> None:
    before = _files(tools.workspace)
    with pytest.raises(ToolError, match=message):
        tools.apply_patch(patch)
    assert _files(tools.workspace) == before


def test_unchanged_and_too_large_contents_are_refused(tools: WriteTools, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ToolError, match="already has exactly this content"):
        tools.write_file("keep.log", "log\n")
    monkeypatch.setattr("loom_agents._workspace.write.tools.MAX_FILE_BYTES", 10)
    monkeypatch.setattr("loom_agents._workspace.undo.file_images.MAX_FILE_BYTES", 10)
    with pytest.raises(ToolError, match="may have at most 10 bytes"):
        tools.write_file("big", "x" * 11)
    with pytest.raises(ToolError, match="the limit is 10"):
        tools.edit_file("README.md", "Sample", "x")


def test_a_long_diff_is_truncated_with_its_total(tools: WriteTools) -> None:
    answer = tools.write_file("long.txt", "line\n" * 5_000)
    assert len(answer["diff"]) == 8_000
    assert answer["truncated"] is True
    assert answer["total"] > 25_000
