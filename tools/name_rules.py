"""The rules of tools/gates.py about names of files, names in code, and docstrings."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from workspace import Finding, modules, packages

# ------------------------------------------------------------------ files and folders

MAX_SAME_PREFIX = 2
FORBIDDEN_FILE_NAMES = frozenset(
    {
        "util",
        "utils",
        "helper",
        "helpers",
        "manager",
        "managers",
        "handler",
        "handlers",
        "data",
        "info",
        "misc",
        "common",
    }
)


def folders_instead_of_prefixes(root: Path) -> Iterator[Finding]:
    """No three modules of a folder share a prefix such as `cli_`: that is a folder."""
    for package in packages(root):
        by_prefix: dict[tuple[Path, str], list[Path]] = {}
        for path in sorted(package.source.rglob("*.py")):
            first, underscore, _ = path.stem.lstrip("_").partition("_")
            if underscore and not path.stem.startswith("__"):
                by_prefix.setdefault((path.parent, first), []).append(path)
        for (_, prefix), paths in by_prefix.items():
            if len(paths) > MAX_SAME_PREFIX:
                names = ", ".join(path.name for path in paths)
                yield Finding(paths[0], 1, f"shares the prefix {prefix}_ ({names}): make it a folder {prefix}/")


def telling_file_names(root: Path) -> Iterator[Finding]:
    """No module has a name that says nothing about what it holds."""
    for package in packages(root):
        for path in sorted(package.source.rglob("*.py")):
            if path.stem.strip("_") in FORBIDDEN_FILE_NAMES:
                yield Finding(path, 1, f"is named {path.stem}, which does not say what it holds")


# ------------------------------------------------------------------ words

# Words that were coined for earlier versions, each with the standard term of the glossary.
COINED_WORDS = {
    "bell": "notification",
    "desk": "review, approvals",
    "doubtful": "in doubt",
    "errand": "task, child run",
    "heir": "successor",
    "homework": "pending work",
    "kin": "run tree",
    "mend": "fix, repair",
    "world": "environment",
}
PLACEHOLDERS = frozenset({"", "doc", "docs", "docstring", "description", "tbd", "placeholder"})
_UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|TBD)\b")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def no_coined_words(root: Path) -> Iterator[Finding]:
    """No module, class, function, parameter or variable has a word in its name that the glossary
    has replaced.
    """
    for package in packages(root):
        for path, tree in modules(package):
            named = [(1, path.stem), *(pair for node in ast.walk(tree) for pair in _named(node))]
            for line, name in dict.fromkeys(named):
                for word in {word.lower() for word in _WORD.findall(name)} & COINED_WORDS.keys():
                    yield Finding(path, line, f"{name} has the word {word}: use {COINED_WORDS[word]}")


def _named(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of what this node gives a name to."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.lineno, node.name
        case ast.arg():
            yield node.lineno, node.arg
        case ast.Name(ctx=ast.Store()):
            yield node.lineno, node.id
        case ast.Attribute(ctx=ast.Store()):
            yield node.lineno, node.attr


def no_placeholder_docstrings(root: Path) -> Iterator[Finding]:
    """No docstring is a placeholder, unfinished, or only the name again."""
    for package in packages(root):
        for path, tree in modules(package):
            for node in ast.walk(tree):
                if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                text = ast.get_docstring(node)
                if text is None:
                    continue
                line, name = (1, path.stem) if isinstance(node, ast.Module) else (node.lineno, node.name)
                words = [word.lower() for word in _WORD.findall(text)]
                if text.lower().rstrip(".") in PLACEHOLDERS or _UNFINISHED.search(text):
                    yield Finding(path, line, f"{name} has a placeholder for a docstring")
                elif "`" not in text and words == [word.lower() for word in _WORD.findall(name)]:
                    yield Finding(path, line, f"{name} has a docstring that only repeats its name")
