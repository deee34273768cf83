import errno
import os
from pathlib import Path
from typing import Any

import pytest
from loom_agents._errors import ToolError
from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.undo.file_images import Image, missing_folders, put, remove_folders, take


def test_a_file_is_read_and_written_with_its_mode(workspace: Workspace) -> None:
    image = take(workspace, "src/app.py")
    assert image is not None
    assert (image.executable, image.data[:7]) == (False, b"def add")
    put(workspace, "bin/tool", Image(b"#!/bin/sh\n", executable=True), key="k")
    assert os.access(workspace.root / "bin" / "tool", os.X_OK)
    assert take(workspace, "bin/tool") == Image(b"#!/bin/sh\n", executable=True)
    put(workspace, "bin/tool", None, key="k")
    put(workspace, "none/at/all", None, key="k")
    assert take(workspace, "bin/tool") is None


def test_a_failed_write_keeps_the_old_file(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*names: Any, **folders: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    before = sorted(workspace.root.iterdir())
    monkeypatch.setattr(os, "rename", refused)
    with pytest.raises(OSError, match="Read-only"):
        put(workspace, "README.md", Image(b"new"), key="k")
    assert (workspace.root / "README.md").read_text().startswith("# Sample")
    assert sorted(workspace.root.iterdir()) == before


def test_only_empty_folders_are_removed(workspace: Workspace) -> None:
    assert missing_folders(workspace, "a/b/c.txt") == 2
    put(workspace, "a/b/c.txt", Image(b"x"), key="k")
    (workspace.root / "a" / "mine.txt").write_text("x")
    put(workspace, "a/b/c.txt", None, key="k")
    remove_folders(workspace, "a/b/c.txt", 2)
    assert sorted(Path(path).name for path in (workspace.root / "a").iterdir()) == ["mine.txt"]


def test_a_folder_and_a_pipe_are_refused(workspace: Workspace) -> None:
    os.mkfifo(workspace.root / "pipe")
    for path in ("src", "pipe"):
        with pytest.raises(ToolError):
            take(workspace, path)
