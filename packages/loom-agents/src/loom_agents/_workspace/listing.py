"""Which files a tool shows: everything in the workspace that .gitignore, secrets and links do not hide."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.secret_names import is_secret

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

# Folders that hold nothing a person wrote, hidden even where no .gitignore says so.
_ALWAYS_HIDDEN = {".git", ".hg", ".svn", ".venv", "node_modules", "__pycache__"}


@dataclass(frozen=True, slots=True)
class ListedFile:
    """Hold one visible file: its path as the model names it, and what tells whether it changed."""

    path: str
    size_bytes: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class _Rules:
    """Hold one .gitignore. Paths are given to it as seen from its own folder: `above` + the path without `prefix`."""

    prefix: str
    above: str
    spec: "GitIgnoreSpec"

    def verdict(self, path: str) -> bool | None:
        """Say whether the path is ignored; None without an opinion."""
        return self.spec.check_file(self.above + path.removeprefix(self.prefix)).include


def walk(workspace: Workspace) -> Iterator[ListedFile]:
    """Give every visible file, sorted by path within each folder. Links are never followed nor shown."""
    root = f"{workspace.root}/"
    for file in _walk(workspace.root, "", _rules_above(workspace.root)):
        if not workspace.is_private(root + file.path):
            yield file


def _rules_above(root: Path) -> tuple[_Rules, ...]:
    """Read the rules of the repository that the workspace is a part of, outermost first."""
    top = next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), None)
    if top is None or top == root:
        return ()
    found = []
    for folder in reversed(root.parents[: len(root.relative_to(top).parts)]):
        spec = _ignore_rules(folder / ".gitignore")
        if spec is not None:
            found.append(_Rules("", f"{root.relative_to(folder).as_posix()}/", spec))
    return tuple(found)


def _walk(folder: Path, prefix: str, rules: tuple[_Rules, ...]) -> Iterator[ListedFile]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return  # a folder that may not be read has no visible files
    if any(entry.name == ".gitignore" for entry in entries):
        spec = _ignore_rules(folder / ".gitignore")
        rules = (*rules, _Rules(prefix, "", spec)) if spec else rules
    for entry in entries:
        path = prefix + entry.name
        if entry.is_symlink() or entry.name in _ALWAYS_HIDDEN or is_secret((entry.name,)):
            continue
        if entry.is_dir():
            if not _is_ignored(path + "/", rules):
                yield from _walk(folder / entry.name, path + "/", rules)
        elif entry.is_file() and not _is_ignored(path, rules):
            try:
                facts = entry.stat()
                entry.name.encode()
            except (OSError, UnicodeEncodeError):
                continue  # gone meanwhile, or a name that no model could repeat
            yield ListedFile(path, facts.st_size, facts.st_mtime_ns)


def _ignore_rules(file: Path) -> "GitIgnoreSpec | None":
    from pathspec import GitIgnoreSpec

    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        return GitIgnoreSpec.from_lines(lines)
    except (OSError, ValueError):
        return None  # git skips what it cannot read, too


def _is_ignored(path: str, rules: tuple[_Rules, ...]) -> bool:
    """Ask the innermost .gitignore first; the first one with an opinion decides, as in git."""
    for rule in reversed(rules):
        verdict = rule.verdict(path)
        if verdict is not None:
            return verdict
    return False


def matches(path: str, glob: str) -> bool:
    """Say whether a path fits a glob: `*`, `?` and `[...]` stay within a folder, `**` crosses any number of them.

    A glob without a slash is looked for in every folder, as in .gitignore. The time is bounded by the product of
    both lengths, whatever the glob.
    """
    wanted = glob.removeprefix("./").removeprefix("/").split("/")
    if "/" not in glob:
        wanted.insert(0, "**")
    parts = path.split("/")
    at = want = 0
    star, resumed = -1, 0  # the last `**`, and the part from which it was last tried
    while at < len(parts):
        if want < len(wanted) and wanted[want] == "**":
            star, resumed = want, at
            want += 1
        elif want < len(wanted) and fnmatchcase(parts[at], wanted[want]):
            at += 1
            want += 1
        elif star >= 0:
            resumed += 1
            at, want = resumed, star + 1
        else:
            return False
    return all(part == "**" for part in wanted[want:])
