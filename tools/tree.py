"""Print the folders of packages/, apps/ and servers/, each with the summary of its docstring.

    python tools/tree.py                 prints the tree
    python tools/tree.py --write FILE    puts it between the markers in FILE (CONTRIBUTING.md)

tests/test_tree.py compares CONTRIBUTING.md with the folders.
"""

import argparse
import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import workspace

ROOT = Path(__file__).resolve().parent.parent
BEGIN = "<!-- tree: made by tools/tree.py -->"
END = "<!-- /tree -->"


def summary(folder: Path) -> str:
    """Return the first paragraph of the folder's docstring, in one line."""
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.partition("\n\n")[0].split()).rstrip(".")


def folders(folder: Path, depth: int) -> Iterator[tuple[int, str, str]]:
    """Depth, name and summary of each package folder below this one."""
    for init in sorted(folder.glob("*/__init__.py")):
        yield depth, init.parent.name, summary(init.parent)
        yield from folders(init.parent, depth + 1)


def rows(root: Path) -> Iterator[tuple[int, str, str]]:
    group = ""
    for package in workspace.packages(root):
        if package.folder.parent.name != group:
            group = package.folder.parent.name
            yield 0, group, ""
        yield 1, f"{package.folder.name}/src/{package.name}", summary(package.source)
        yield from folders(package.source, 2)


def tree(root: Path) -> str:
    """Return the tree as text, one line for each folder."""
    return "\n".join(f"{'  ' * depth + name + '/':<26} {text}".rstrip() for depth, name, text in rows(root))


def with_tree(page: str, root: Path) -> str:
    """Return the page with the tree between its markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"cannot write the tree: because the page has no {BEGIN} ... {END}. Add the two lines.")
    return f"{before}{BEGIN}\n\n```text\n{tree(root)}\n```\n\n{END}{after}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Print the folders of all packages.")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tree between the markers in FILE")
    options = parser.parse_args()
    if options.write is None:
        print(tree(ROOT))
    else:
        options.write.write_text(with_tree(options.write.read_text(encoding="utf-8"), ROOT), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
