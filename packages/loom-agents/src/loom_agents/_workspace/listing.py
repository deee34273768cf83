"""List the files that tools show: all except ignored files, secrets and links."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from loom_agents._search.files import ListedFile
from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.secret_names import is_secret

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_name = attrgetter("name")
_MAX_VERDICTS = 100_000
# Folders without files that a person wrote; they are hidden even without a .gitignore.
_ALWAYS_HIDDEN = {".git", ".hg", ".svn", ".venv", "node_modules", "__pycache__"}


class _Patterns:
    """The patterns of one .gitignore, and what they said about paths: a listing asks the same each
    time.
    """

    def __init__(self, spec: "GitIgnoreSpec") -> None:
        self._spec = spec
        self._verdicts: dict[str, bool | None] = {}

    def verdict(self, path: str) -> bool | None:
        """Report whether the path is ignored; None when no pattern matches it."""
        if path not in self._verdicts:
            if len(self._verdicts) >= _MAX_VERDICTS:
                self._verdicts.clear()
            self._verdicts[path] = self._spec.check_file(path).include
        return self._verdicts[path]


@dataclass(frozen=True, slots=True)
class _Rules:
    """Hold one .gitignore, which gets paths relative to it: `above` + path - `prefix`."""

    prefix: str
    above: str
    patterns: _Patterns

    def verdict(self, path: str) -> bool | None:
        """Report whether the path is ignored; None when no pattern matches it."""
        return self.patterns.verdict(self.above + path.removeprefix(self.prefix))


def walk(workspace: Workspace, below: str = "") -> Iterator[ListedFile]:
    """Yield every visible file, sorted by path within each folder, without links.

    Args:
        below: Only this file, or the files in this folder.
    """
    only = tuple(PurePosixPath(below).parts)
    files = _walk(os.fspath(workspace.root), "", _rules_above(workspace.root), only)
    if not workspace.private:
        return files
    root = f"{workspace.root}/"
    return (file for file in files if not workspace.is_private(root + file.path))


def _rules_above(root: Path) -> tuple[_Rules, ...]:
    """Read the rules of the repository folders above the workspace, outermost first."""
    top = next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), None)
    if top is None or top == root:
        return ()
    found = []
    for folder in reversed(root.parents[: len(root.relative_to(top).parts)]):
        patterns = _ignore_rules(folder / ".gitignore")
        if patterns is not None:
            found.append(_Rules("", f"{root.relative_to(folder).as_posix()}/", patterns))
    return tuple(found)


def _walk(folder: str, prefix: str, rules: tuple[_Rules, ...], only: tuple[str, ...]) -> Iterator[ListedFile]:
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=_name)
    except OSError:
        return  # a folder that may not be read has no visible files
    if any(entry.name == ".gitignore" for entry in entries):
        patterns = _ignore_rules(Path(folder) / ".gitignore")
        rules = (*rules, _Rules(prefix, "", patterns)) if patterns else rules
    for entry in entries:
        name = entry.name
        if only and name != only[0]:
            continue
        if name in _ALWAYS_HIDDEN or is_secret((name,)):
            continue
        path = prefix + name
        if entry.is_dir(follow_symlinks=False):  # a link is neither a folder nor a file
            if not (rules and _is_ignored(path + "/", rules)):
                yield from _walk(f"{folder}/{name}", path + "/", rules, only[1:])
        elif not only[1:] and entry.is_file(follow_symlinks=False) and not (rules and _is_ignored(path, rules)):
            try:
                facts = entry.stat(follow_symlinks=False)
                if not name.isascii():
                    name.encode()
            except (OSError, UnicodeEncodeError):
                continue  # deleted in the meantime, or with a name that is not valid text
            yield ListedFile(path, facts.st_size, facts.st_mtime_ns)


def _ignore_rules(file: Path) -> _Patterns | None:
    try:
        return _parsed(file.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return None  # git also ignores files that it cannot read


@lru_cache(maxsize=256)
def _parsed(text: str) -> _Patterns:
    from pathspec import GitIgnoreSpec

    return _Patterns(GitIgnoreSpec.from_lines(text.splitlines()))


def _is_ignored(path: str, rules: tuple[_Rules, ...]) -> bool:
    """Report whether a path is ignored: the innermost .gitignore that matches decides."""
    for rule in reversed(rules):
        verdict = rule.verdict(path)
        if verdict is not None:
            return verdict
    return False


def matches(path: str, glob: str) -> bool:
    """Report whether a path matches a glob; only `**` matches across folders.

    A glob without a slash matches in every folder, as in .gitignore. For any glob the time is at
    most proportional to the product of both lengths.
    """
    patterns = glob.removeprefix("./").removeprefix("/").split("/")
    if "/" not in glob:
        patterns.insert(0, "**")
    parts = path.split("/")
    part = pattern = 0
    star, retried = -1, 0  # the last `**`, and the part from which it was last tried
    while part < len(parts):
        if pattern < len(patterns) and patterns[pattern] == "**":
            star, retried = pattern, part
            pattern += 1
        elif pattern < len(patterns) and fnmatchcase(parts[part], patterns[pattern]):
            part += 1
            pattern += 1
        elif star >= 0:
            retried += 1
            part, pattern = retried, star + 1
        else:
            return False
    return all(rest == "**" for rest in patterns[pattern:])
