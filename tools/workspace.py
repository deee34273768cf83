"""The packages of the workspace, their modules, and the text that git tracks: what the gates
read.
"""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Finding(NamedTuple):
    path: Path
    line: int
    text: str


class Package(NamedTuple):
    name: str  # import name
    folder: Path  # where its pyproject.toml is
    source: Path  # src/<name>


def packages(root: Path) -> list[Package]:
    """Every package of the workspace, found by its manifest."""
    found: list[Package] = []
    for group in ("packages", "apps", "servers"):
        for manifest in sorted((root / group).glob("*/pyproject.toml")):
            sources = sorted((manifest.parent / "src").glob("*/__init__.py"))
            found += [Package(source.parent.name, manifest.parent, source.parent) for source in sources]
    return found


def modules(package: Package) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(package.source.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"), str(path))


def tracked_text(root: Path) -> Iterator[tuple[Path, str]]:
    """The text of every file that git tracks or would add; binary files are left out."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listing.stdout.split("\0")):
        path = root / name
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if b"\0" not in content[:8192]:
                yield path, content.decode("utf-8", "replace")
