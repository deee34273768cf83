"""Check the decorated functions of files without importing them, for `loom-tailcalls check` and
`explain`.
"""

from __future__ import annotations

import ast
import tokenize
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

from loom._analysis import analyse
from loom._codes import DEVIATIONS
from loom._errors import UnreadableError
from loom._explain import facts_of, refusal_facts
from loom._options import Options
from loom._plan import Plan
from loom._source import Definition, deep_trees, definitions_in, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from loom._verdict import Analysis

DECORATORS = ("tailrec", "tailstream")
SKIPPED_FOLDERS = frozenset({"__pycache__", "build", "dist", "node_modules", "site-packages"})


@dataclass(frozen=True, slots=True)
class Problem:
    """One line of a report: a refusal (`error`), or a tail call that ends a block without the
    option `blocks` (`warning`).
    """

    level: str
    code: str
    file: str
    line: int
    column: int
    function: str
    message: str
    fix: str


@dataclass(frozen=True, slots=True)
class Checked:
    """One decorated function and its analysis."""

    analysis: Analysis
    accepts_original: bool

    def facts(self, *, with_source: bool) -> dict[str, Any]:
        """Return what `explain_tailcalls` would return as JSON data."""
        accepted = with_source and not self.analysis.refusals
        return facts_of(
            self.analysis, Plan(self.analysis, accepts_original=self.accepts_original) if accepted else None
        )

    def problems(self) -> Iterator[Problem]:
        """List the refusals, or the warnings of an accepted function."""
        analysis = self.analysis
        file, name = analysis.definition.file.filename, analysis.code.co_qualname
        for error in analysis.refusals:
            facts = refusal_facts(error)
            place = (facts["line"] or 1, facts["column"] or 1)
            yield Problem("error", error.code, file, *place, name, error.reason, error.fix)
        for found in () if analysis.refusals else analysis.unrequested_block_ends:
            fix = DEVIATIONS[found.id].fix
            yield Problem("warning", found.id, file, found.line, found.column, name, found.text, fix)


def python_files(paths: Iterable[str]) -> Iterator[Path]:
    """List the Python files under some paths, in order.

    Raises:
        UnreadableError: A path does not exist.
    """
    for name in paths:
        path = Path(name)
        if path.is_dir():
            for found in sorted(path.rglob("*.py")):
                parts = found.relative_to(path).parts
                if not any(part in SKIPPED_FOLDERS or part.startswith(".") for part in parts):
                    yield found
        elif path.exists():
            yield path
        else:
            message = f"cannot check {name!r}: because there is no such file or folder. Name an existing path."
            raise UnreadableError(message)


def check_file(path: Path) -> list[Checked]:
    """Check every decorated function of one file.

    Raises:
        UnreadableError: The file cannot be read or parsed.
    """
    text = _read(path)
    return [
        _check(text, definition, position, options)
        for definition in text.definitions
        for position, options in _decorators_on(definition, text.decorators)
    ]


def check_function(path: Path, name: str) -> list[Checked]:
    """Check the functions of a file that are named `name` (plain or qualified), decorated or not.

    Raises:
        UnreadableError: The file cannot be read or parsed, or has no such function.
    """
    text = _read(path)
    found = []
    for definition in text.definitions:
        code = text.codes.get((definition.node.name, definition.first_line))
        if code is None or name not in (definition.node.name, code.co_qualname):
            continue
        given: list[tuple[int | None, Options]] = list(_decorators_on(definition, text.decorators))
        guessed = Options("tailstream" if code.co_flags & 0x220 else "tailrec")
        found += [_check(text, definition, *chosen) for chosen in given or [(None, guessed)]]
    if not found:
        message = f"cannot explain {name!r}: because {str(path)!r} has no such function. Write FILE:Class.method."
        raise UnreadableError(message)
    return found


@dataclass(frozen=True, slots=True)
class _Text:
    """One parsed and compiled file: its definitions, their code, the names of our decorators, and
    its global names.
    """

    definitions: tuple[Definition, ...]
    codes: dict[tuple[str, int], CodeType]
    decorators: dict[str, str]
    own_globals: frozenset[str]


def _check(text: _Text, definition: Definition, position: int | None, options: Options) -> Checked:
    code = text.codes[definition.node.name, definition.first_line]
    with deep_trees():
        analysis = analyse(
            definition, code, options, position=position, is_builtin=lambda name: name not in text.own_globals
        )
    return Checked(analysis, accepts_original=position is None)


def _read(path: Path) -> _Text:
    try:
        with tokenize.open(path) as stream:
            text = stream.read()
        with deep_trees(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = parse(text, str(path))
            code = compile(
                text, str(path), "exec", dont_inherit=True
            )  # the text: a tree may be deeper than compile takes
    except (RecursionError, MemoryError) as error:  # what CPython's parser raises for too much nesting
        message = f"cannot read {str(path)!r}: because it is nested too deeply for Python. Split the expression."
        raise UnreadableError(message) from error
    except (SyntaxError, ValueError) as error:
        message = f"cannot read {str(path)!r}: because it is not Python text ({error}). Correct the file."
        raise UnreadableError(message) from error
    except OSError as error:
        message = f"cannot read {str(path)!r}: because of {error.strerror or error}. Check the path."
        raise UnreadableError(message) from error
    found = definitions_in(tree, str(path), tuple(text.splitlines(keepends=True)))
    named = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef))
    own = {node.name for node in named}.union(found[0].file.imported if found else ())
    return _Text(found, dict(_functions(code)), _decorator_names(tree), frozenset(own))


def _functions(code: CodeType) -> Iterator[tuple[tuple[str, int], CodeType]]:
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield (const.co_name, const.co_firstlineno), const
            yield from _functions(const)


def _decorator_names(tree: ast.Module) -> dict[str, str]:
    """Return the dotted names under which this file knows the decorators."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "loom":
            names.update({alias.asname or alias.name: alias.name for alias in node.names if alias.name in DECORATORS})
            if any(alias.name == "*" for alias in node.names):
                names.update({name: name for name in DECORATORS})
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name == "loom":
                    names.update({f"{alias.asname or 'loom'}.{name}": name for name in DECORATORS})
    return names


def _decorators_on(definition: Definition, names: dict[str, str]) -> Iterator[tuple[int, Options]]:
    """Yield the index and the options of our decorators on a definition."""
    for index, node in enumerate(definition.node.decorator_list):
        called = node.func if isinstance(node, ast.Call) else node
        mode = names.get(ast.unparse(called))
        if mode is None:
            continue
        given: dict[str, Any] = {"mode": mode}
        for word in node.keywords if isinstance(node, ast.Call) else ():
            if word.arg in Options._fields and isinstance(word.value, ast.Constant):
                given[word.arg] = word.value.value
        yield index, Options(**given)
