"""The tree in CONTRIBUTING.md is that of the folders."""

from pathlib import Path

import pytest
import tree

ROOT = Path(__file__).resolve().parent.parent


def package(root: Path, *folders: str) -> None:
    source = root / "packages" / "thing" / "src" / "thing"
    for folder in ("", *folders):
        (source / folder).mkdir(parents=True, exist_ok=True)
        (source / folder / "__init__.py").write_text(f'"""Do {folder or "everything"}.\n\nMore."""\n')
    (source.parent.parent / "pyproject.toml").touch()


def test_contributing_shows_the_folders_as_they_are() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

    assert tree.with_tree(page, ROOT) == page, "run: python tools/tree.py --write CONTRIBUTING.md"


def test_a_folder_is_a_line_below_the_one_that_holds_it(tmp_path: Path) -> None:
    package(tmp_path, "_store", "_store/sqlite")

    lines = [line.split(maxsplit=1) for line in tree.tree(tmp_path).splitlines()]

    assert lines == [
        ["packages/"],
        ["thing/src/thing/", "Do everything"],
        ["_store/", "Do _store"],
        ["sqlite/", "Do _store/sqlite"],
    ]


def test_a_new_folder_changes_the_page(tmp_path: Path) -> None:
    package(tmp_path)
    page = tree.with_tree(f"before\n{tree.BEGIN}\n{tree.END}\nafter\n", tmp_path)
    assert page.startswith("before\n") and page.endswith("\nafter\n")
    assert tree.with_tree(page, tmp_path) == page

    package(tmp_path, "_new")

    assert tree.with_tree(page, tmp_path) != page


def test_a_page_without_markers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="Add the two lines"):
        tree.with_tree("no markers", tmp_path)
