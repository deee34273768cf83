"""Find the definition of a function in the text it was loaded from.

The whole file is parsed, never a dedented snippet: so lines, columns and multi-line strings are
unchanged. The text comes from `linecache`, which also knows notebooks, doctests, the new REPL and
zip files. Nothing is executed.
"""

from __future__ import annotations

import ast
import linecache
import sys
import threading
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import CodeType
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from loom._codes import CODES
from loom._errors import TailCallError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Made = TypeVar("Made")

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, eq=False)
class SourceFile:
    """What is kept of one text; the tree of the whole file is released.

    Attributes:
        filename: As in `co_filename`.
        lines: The text, line by line.
        imported: The names that `import` binds at module level; the bytecode of a method call
            depends on them.
        decorated: The names of all functions that have a decorator.
    """

    filename: str
    lines: tuple[str, ...]
    imported: tuple[str, ...]
    decorated: frozenset[str]

    def line(self, number: int) -> str:
        """Return line `number` (from 1) without its end, or an empty text."""
        return self.lines[number - 1].rstrip("\r\n") if 0 < number <= len(self.lines) else ""

    def column(self, node: ast.expr | ast.stmt) -> int:
        """Return where a node begins, in characters from 1; the tree counts in bytes from 0."""
        return len(self.line(node.lineno).encode()[: node.col_offset].decode(errors="replace")) + 1


@dataclass(frozen=True, slots=True)
class Scope:
    """A class, or a function, around a definition."""

    name: str
    is_class: bool


@dataclass(frozen=True, slots=True)
class Definition:
    """One `def` and the scopes around it, outermost first."""

    file: SourceFile
    node: Function
    scopes: tuple[Scope, ...]

    @property
    def first_line(self) -> int:
        """Return the line a code object counts from: that of the first decorator, else of the
        `def`.
        """
        return self.node.decorator_list[0].lineno if self.node.decorator_list else self.node.lineno

    @property
    def class_name(self) -> str | None:
        """Return the class whose body holds the `def` directly, if one does."""
        return self.scopes[-1].name if self.scopes and self.scopes[-1].is_class else None

    @property
    def private_class(self) -> str | None:
        """Return the innermost class around the `def`: its name mangles `__names`."""
        return next((scope.name for scope in reversed(self.scopes) if scope.is_class), None)

    def decorator_at(self, line: int) -> int | None:
        """Return the index of the decorator on a line."""
        for index, node in enumerate(self.node.decorator_list):
            if node.lineno <= line <= (node.end_lineno or node.lineno):
                return index
        return None

    def error(
        self, code: str, node: ast.expr | ast.stmt | None = None, *, reason: str | None = None, fix: str | None = None
    ) -> TailCallError:
        """Build the refusal `code` that points at `node` (at the `def` when not given).

        Reason and fix come from the table unless given.
        """
        node = node or self.node
        text, column = self.file.line(node.lineno), self.file.column(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            width = len(text[column - 1 :].partition("(")[0])
        elif node.end_lineno == node.lineno and node.end_col_offset is not None:
            width = len(text.encode()[: node.end_col_offset].decode(errors="replace")) - column + 1
        else:
            width = len(text) - column + 1
        return TailCallError(
            code,
            f"{self.node.name!r}",
            reason=reason or CODES[code].why,
            fix=fix or CODES[code].fix,
            filename=self.file.filename,
            line=node.lineno,
            column=column,
            source_line=text,
            width=width,
        )


_last: tuple[SourceFile, tuple[Definition, ...]] | None = None
"""The file read last: a module with many decorated functions is parsed once."""


def read_definitions(
    filename: str, module_globals: dict[str, object] | None, *, asserts_rewritten: bool
) -> tuple[Definition, ...] | None:
    """List every `def` in the text behind `filename`, or return None when there is no text or it
    does not parse.

    Args:
        filename: As in `co_filename`.
        module_globals: The globals of the module; its loader may know the text.
        asserts_rewritten: Whether pytest rewrote the `assert` statements of the loaded code; then
            they are rewritten here as well.
    """
    global _last  # noqa: PLW0603 - a cache of one entry; a lost race only parses again
    linecache.checkcache(filename)
    lines = tuple(linecache.getlines(filename, module_globals))
    if not lines:
        return None
    last = _last
    if last is not None and not asserts_rewritten and last[0].filename == filename and last[0].lines == lines:
        return last[1]
    text = "".join(lines)
    try:
        tree = parse(text, filename)
    except (SyntaxError, ValueError):
        return None
    if asserts_rewritten:
        return definitions_in(_rewrite_asserts(tree, text), filename, lines)
    found = definitions_in(tree, filename, lines)
    if found:
        _last = (found[0].file, found)
    return found


def parse(text: str, filename: str) -> ast.Module:
    """Parse a text without repeating the warnings that Python issued when it loaded it."""
    return quiet_compile(lambda: ast.parse(text, filename))


_trees_lock = threading.RLock()
_TRIES: Final = 20


def quiet_compile(work: Callable[[], Made]) -> Made:
    """Let CPython make or read a tree, without its warnings.

    3.11 counts the depth of a tree in one place for all threads, and for code that the garbage
    collector runs in the middle: `SystemError: AST constructor recursion depth mismatch`. So only
    one thread works here at a time, and what others in the process spoil is done again.
    """
    with _trees_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(_TRIES - 1):
            with suppress(SystemError):
                return work()
        return work()


_limit_lock = threading.RLock()


@contextmanager
def deep_trees() -> Iterator[None]:
    """Raise the recursion limit for walks over trees: a long `elif` chain or sum is a deep tree."""
    with _limit_lock:  # the limit belongs to the process: two threads must not restore each other's
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(limit + 20_000)
        try:
            yield
        finally:
            sys.setrecursionlimit(limit)


def definitions_in(tree: ast.Module, filename: str, lines: tuple[str, ...]) -> tuple[Definition, ...]:
    """List every `def` of a tree with the scopes around it, in the order of the text."""
    defs: list[tuple[Function, tuple[Scope, ...]]] = []
    imported: set[str] = set()
    pending: list[tuple[ast.AST, tuple[Scope, ...]]] = [(tree, ())]
    while pending:  # an explicit stack: a long `elif` chain is a deep tree
        node, scopes = pending.pop()
        for child in ast.iter_child_nodes(node):
            inner = scopes
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                defs.append((child, scopes))
                inner = (*scopes, Scope(child.name, is_class=False))
            elif isinstance(child, ast.ClassDef):
                inner = (*scopes, Scope(child.name, is_class=True))
            elif isinstance(child, ast.Import | ast.ImportFrom) and not scopes:
                imported.update((alias.asname or alias.name).split(".")[0] for alias in child.names)
            if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
                pending.append((child, inner))
    decorated = frozenset(node.name for node, _ in defs if node.decorator_list)
    file = SourceFile(filename, lines, tuple(sorted(imported - {"*"})), decorated)
    return tuple(Definition(file, node, scopes) for node, scopes in sorted(defs, key=lambda found: found[0].lineno))


def has_rewritten_asserts(code: CodeType) -> bool:
    """Tell whether pytest's assertion rewriting made this code."""
    return "@pytest_ar" in code.co_names or any(
        has_rewritten_asserts(const) for const in code.co_consts if isinstance(const, CodeType)
    )


def _rewrite_asserts(tree: ast.Module, text: str) -> ast.Module:
    """Rewrite the tree as pytest rewrote the loaded module, so that failing asserts keep their
    details.
    """
    rewrite = sys.modules["_pytest.assertion.rewrite"]
    rewrite.rewrite_asserts(tree, text.encode())
    return tree
