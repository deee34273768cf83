import time

import pytest
from loom_agents._listing import matches, walk
from loom_agents._workspace import Workspace


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


def test_a_link_that_points_at_its_own_folder_ends(workspace: Workspace) -> None:
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
def test_globs_mean_what_they_mean_elsewhere(path: str, glob: str, expected: bool) -> None:
    assert matches(path, glob) is expected


def test_a_hostile_glob_takes_no_time() -> None:
    started = time.perf_counter()
    assert not matches("/".join(["a" * 50] * 40), "/".join(["**", "*a" * 20 + "b"] * 15))
    assert time.perf_counter() - started < 1
