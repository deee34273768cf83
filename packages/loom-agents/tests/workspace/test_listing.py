import shutil
import subprocess
import time
from pathlib import Path

import pytest
from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.listing import matches, walk


def test_the_listing_honours_gitignore_and_shows_no_secret_and_no_link(workspace: Workspace) -> None:
    assert [file.path for file in walk(workspace)] == [
        ".gitignore",
        "README.md",
        "docs/guide.md",
        "keep.log",
        "src/app.py",
        "sub/.gitignore",
        "sub/y.txt",
        "tests/test_app.py",
    ]


def test_a_workspace_inside_a_repository_obeys_the_rules_above_it(tmp_path: Path) -> None:
    for path, text in {
        "repo/.git/HEAD": "",
        "repo/.gitignore": "*.log\n/part/build/\nother/\n",
        "repo/part/.gitignore": "!keep.log\n",
        "repo/part/a.log": "",
        "repo/part/keep.log": "",
        "repo/part/build/x": "",
        "repo/part/other/y": "",
        "repo/part/z": "",
        ".gitignore": "z\n",
    }.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    names = [file.path for file in walk(Workspace.at(tmp_path / "repo" / "part"))]
    assert names == [".gitignore", "keep.log", "z"]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not on this machine")
def test_the_listing_is_what_git_would_show(workspace: Workspace) -> None:
    subprocess.run(["git", "init", "-q"], cwd=workspace.root, check=True)
    listing = ["git", "ls-files", "--others", "--exclude-standard"]
    shown = subprocess.run(listing, cwd=workspace.root, capture_output=True, text=True, check=True).stdout.split()
    hidden = {".env", "config/.ENV", "keys/id_rsa", "link_out", "link_env", "link_folder", "link_in"}
    assert sorted(file.path for file in walk(workspace)) == sorted(set(shown) - hidden)


def test_a_link_to_its_own_folder_is_not_followed(workspace: Workspace) -> None:
    (workspace.root / "docs" / "again").symlink_to(workspace.root)
    assert len(list(walk(workspace))) == 8


@pytest.mark.parametrize(
    ("path", "glob", "expected"),
    [
        ("a.py", "*.py", True),
        ("src/deep/a.py", "*.py", True),
        ("src/a.py", "src/*.py", True),
        ("src/deep/a.py", "src/*.py", False),
        ("src/deep/a.py", "src/**/*.py", True),
        ("src/a.py", "src/**/*.py", True),
        ("src/a.py", "src/**", True),
        ("src/a.py", "**", True),
        ("a.py", "./*.py", True),
        ("src/a.py", "./*.py", False),
        ("src/a.py", "/*.py", False),
        ("a.py", "?.py", True),
        ("ab.py", "src/*", False),
        ("b.py", "[ab].py", True),
    ],
)
def test_globs_match_within_and_across_folders(path: str, glob: str, expected: bool) -> None:
    assert matches(path, glob) is expected


def test_a_hostile_glob_takes_little_time() -> None:
    started = time.perf_counter()
    assert not matches("/".join(["a" * 50] * 40), "/".join(["**", "*a" * 20 + "b"] * 15))
    assert time.perf_counter() - started < 1
