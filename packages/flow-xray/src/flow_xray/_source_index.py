"""An index of Python source by `ast`: functions, who may call whom, and the branches inside. Nothing of it is run.

Theory of operation. Each file gives its functions (with the line that `co_firstlineno` of the running function has:
that of the first decorator), its imports and its classes. Then each reference is resolved, in this order:

* a bare name: a function defined inside the enclosing functions, then in the module, then an import of a module that is
  in the index; a class stands for its `__init__`;
* `self.name` and `cls.name`: a method of the class, then of its bases that are in the index;
* `module.name`: of an imported module of the index;
* `anything.name(...)`: every method of that name in the index, when there are at most `_MOST_GUESSES` of them.

A function that is only named (a callback, a list of tools) counts as a possible call. What is reached by `getattr`, a
registry of texts or an import at run time is not seen; the run shows it as *runtime*.
"""

import ast
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_MOST_GUESSES: Final = 4
_SKIPPED: Final = frozenset({"node_modules", "site-packages", "__pycache__", "build", "dist", "venv", "env"})
_TRACERS: Final = frozenset({"trace", "traced"})


@dataclass(frozen=True, slots=True)
class Branch:
    """One way through a function: a block under `if`, `else`, `for`, `while`, `except`, `case`.

    Args:
        line: of the word that opens it.
        lines: of the block, first and last.
        calls: lines of the functions (of the index, by id) that its first statement calls by name.
    """

    line: int
    text: str
    lines: tuple[int, int]
    calls: tuple[str, ...]


@dataclass(slots=True)
class Function:
    """A function of the source; `id` is "file:line" as `Span.code` has it."""

    id: str
    name: str
    file: str
    line: int
    body: tuple[int, int]
    is_traced: bool
    calls: list[str] = field(default_factory=list)
    branches: list[Branch] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def calls_of(self, callee: str) -> int:
        """Return how many places of this function name another one."""
        return self.counts.get(callee, 0)


@dataclass(slots=True)
class _Scope:
    """What a name means where a function stands."""

    names: dict[str, str]  # bare name -> id of a function, class or module ("m:...")
    above: "_Scope | None" = None

    def find(self, name: str) -> str | None:
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.above
        return None


@dataclass(slots=True)
class _Class:
    key: str
    bases: list[ast.expr]
    methods: dict[str, str]
    scope: _Scope


@dataclass(slots=True)
class _Work:
    """A function whose references are still to be resolved."""

    function: Function
    node: _Function
    scope: _Scope
    owner: _Class | None


class SourceIndex:
    """The functions under some roots.

    Args:
        roots: files or folders.

    Attributes:
        functions: by id.
        notes: files that could not be read, in words.
    """

    __slots__ = ("_by_method", "_classes", "_modules", "_source", "_works", "functions", "notes")

    def __init__(self, roots: Sequence[str]) -> None:
        self.functions: dict[str, Function] = {}
        self.notes: list[str] = []
        self._modules: dict[str, _Scope] = {}
        self._classes: dict[str, _Class] = {}
        self._by_method: dict[str, list[str]] = {}
        self._works: list[_Work] = []
        self._source: dict[str, list[str]] = {}
        for root in roots:
            for path in _python_files(root):
                self._read(path, root)
        for work in self._works:
            self._resolve(work)

    def callers(self) -> dict[str, list[str]]:
        """Return, for each function, those that may call it."""
        found: dict[str, list[str]] = {}
        for function in self.functions.values():
            for callee in function.calls:
                found.setdefault(callee, []).append(function.id)
        return found

    # ------------------------------------------------------------------ reading

    def _read(self, path: str, root: str) -> None:
        file = os.path.realpath(path)
        if file in self._source:
            return
        try:
            with open(file, "rb") as stream:  # noqa: PTH123  pathlib costs 9 ms
                content = stream.read()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what the compiler thinks of foreign source is not our news
                tree = ast.parse(content, file)
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
            self.notes.append(f"{file} was left out: {type(error).__name__}: {error}")
            return
        self._source[file] = content.decode("utf-8", "replace").splitlines()
        scope = _Scope({})
        for name in _module_names(file, root):
            self._modules.setdefault(name, scope)
        package = _module_names(file, root)[0]
        if os.path.basename(file) != "__init__.py":  # noqa: PTH119  as above
            package = package.rpartition(".")[0]
        self._collect(tree, file, scope, package)

    def _collect(self, tree: ast.Module, file: str, module: _Scope, package: str) -> None:
        """Note what a module defines; functions inside functions get a scope of their own."""
        stack: list[tuple[ast.AST, _Scope, _Class | None, str]] = [(tree, module, None, "")]
        while stack:
            parent, scope, owner, prefix = stack.pop()
            for node in _statements(parent):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    function = _function_of(node, file, prefix)
                    self.functions[function.id] = function
                    if owner is None:
                        scope.names[node.name] = function.id
                    else:
                        owner.methods[node.name] = function.id
                        self._by_method.setdefault(node.name, []).append(function.id)
                    inner = _Scope({}, scope)
                    self._works.append(_Work(function, node, inner, owner))
                    stack.append((node, inner, None, f"{prefix}{node.name}."))
                elif isinstance(node, ast.ClassDef):
                    found = _Class(f"c:{file}:{node.lineno}", node.bases, {}, scope)
                    self._classes[found.key] = found
                    scope.names[node.name] = found.key
                    stack.append((node, scope, found, f"{prefix}{node.name}."))
                elif isinstance(node, ast.Import):
                    for alias in node.names:
                        scope.names[alias.asname or alias.name.partition(".")[0]] = (
                            f"m:{alias.name if alias.asname else alias.name.partition('.')[0]}"
                        )
                elif isinstance(node, ast.ImportFrom):
                    source = _absolute(node, package)
                    for alias in node.names:
                        scope.names[alias.asname or alias.name] = f"i:{source}:{alias.name}"

    # ------------------------------------------------------------------ resolving

    def _resolve(self, work: _Work) -> None:
        function = work.function
        called: set[ast.expr] = set()
        for node in _own_nodes(work.node):
            if isinstance(node, ast.Call):
                called.add(node.func)
            elif node in called:
                continue  # the name in a call is not a second place
            for found in self._named(node, work):
                if found in self.functions:
                    function.counts[found] = function.counts.get(found, 0) + 1
        function.calls = list(function.counts)
        lines = self._source[function.file]
        for line, block in _branches(work.node, lines):
            if all(isinstance(each, ast.Pass) for each in block):
                continue
            calls = tuple(
                target
                for node in ast.walk(block[0])
                if isinstance(node, ast.Call)
                for target in self._target(node.func, work)
                if target in self.functions
            )
            text = lines[line - 1].strip() if line <= len(lines) else ""
            span = (block[0].lineno, block[-1].end_lineno or block[-1].lineno)
            function.branches.append(Branch(line, text, span, calls))

    def _named(self, node: ast.AST, work: _Work) -> Iterator[str]:
        """Yield the functions that one node of a function's body may stand for."""
        if isinstance(node, ast.Call):
            yield from self._target(node.func, work, may_guess=True)
        elif (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)) or isinstance(node, ast.Attribute):
            yield from self._target(node, work)

    def _target(self, node: ast.expr, work: _Work, *, may_guess: bool = False) -> Iterator[str]:
        if isinstance(node, ast.Name):
            yield from self._meant(work.scope.find(node.id))
        elif isinstance(node, ast.Attribute):
            base = node.value
            if isinstance(base, ast.Name) and base.id in ("self", "cls") and work.owner is not None:
                found = self._method(work.owner, node.attr)
                if found is not None:
                    yield found
                return
            dotted = _dotted(base)
            if dotted is not None and (known := work.scope.find(dotted.partition(".")[0])) is not None:
                member = self._member(known, f"{dotted}.{node.attr}".partition(".")[2])
                if member is not None or known.startswith("m:"):
                    yield from self._meant(member)
                    return
            guesses = self._by_method.get(node.attr, []) if may_guess else []
            if len(guesses) <= _MOST_GUESSES:
                yield from guesses

    def _meant(self, found: str | None) -> Iterator[str]:
        """Yield the function behind a name: itself, what was imported, or the `__init__` of a class."""
        for _ in range(10):  # an import of an import of ...
            if found is None or not found.startswith("i:"):
                break
            module, _, name = found[2:].rpartition(":")
            scope = self._modules.get(module)
            found = scope.names.get(name) if scope is not None else None
        if found is not None and found.startswith("c:"):
            made = self._method(self._classes[found], "__init__")
            if made is not None:
                yield made
        elif found is not None:
            yield found

    def _member(self, known: str, path: str) -> str | None:
        """Follow `module.sub.name` or `Class.name` from what the first word means."""
        module = None
        if known.startswith("m:"):
            module = known[2:]
        elif known.startswith("i:"):
            place, _, name = known[2:].rpartition(":")
            module = f"{place}.{name}" if f"{place}.{name}" in self._modules else None
            if module is None:
                scope = self._modules.get(place)
                known = (scope.names.get(name) if scope is not None else None) or known
        if module is not None:
            *packages, name = path.split(".")
            scope = self._modules.get(".".join([module, *packages]))
            return scope.names.get(name) if scope is not None else None
        return self._method(self._classes[known], path) if known in self._classes else None

    def _method(self, owner: _Class, name: str) -> str | None:
        """Find a method in a class or its bases, nearest first."""
        waiting, seen = [owner], {owner.key}
        while waiting:
            found = waiting.pop(0)
            if name in found.methods:
                return found.methods[name]
            for base in found.bases:
                dotted = _dotted(base)
                key = found.scope.find(dotted) if dotted is not None and "." not in dotted else None
                if key is not None and key.startswith("i:"):
                    module, _, imported = key[2:].rpartition(":")
                    scope = self._modules.get(module)
                    key = scope.names.get(imported) if scope is not None else None
                if key in self._classes and key not in seen and key is not None:
                    seen.add(key)
                    waiting.append(self._classes[key])
        return None


def _python_files(root: str) -> Iterator[str]:
    if os.path.isfile(root):  # noqa: PTH113  pathlib costs 9 ms
        yield root
        return
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and not name.startswith("."))
        yield from (os.path.join(folder, name) for name in sorted(names) if name.endswith(".py"))  # noqa: PTH118  as above


def _module_names(file: str, root: str) -> list[str]:
    """Return the names by which a file may be imported: from the root, and from each package folder above it."""
    parts = [os.path.splitext(os.path.basename(file))[0]]  # noqa: PTH119,PTH122  as above
    if parts == ["__init__"]:
        parts = []
    folder, top = os.path.dirname(file), os.path.realpath(root)  # noqa: PTH120  as above
    while True:
        is_package = os.path.exists(os.path.join(folder, "__init__.py"))  # noqa: PTH110,PTH118  as above
        if not is_package and (folder == top or not folder.startswith(top + os.sep)):
            break
        parts.insert(0, os.path.basename(folder))  # noqa: PTH119  as above
        parent = os.path.dirname(folder)  # noqa: PTH120  as above
        if parent == folder:
            break
        folder = parent
    return [".".join(parts[start:]) for start in range(max(1, len(parts)))]


def _statements(parent: ast.AST) -> Iterator[ast.stmt]:
    """Yield the statements of a module, class or function, also those under `if` and `try`, not those of inner ones."""
    stack: list[ast.AST] = list(getattr(parent, "body", []))[::-1]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.stmt):
            yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for name in ("finalbody", "orelse", "handlers", "cases", "body"):
                inner = getattr(node, name, None)
                stack.extend(reversed(inner) if isinstance(inner, list) else ())


def _own_nodes(function: _Function) -> Iterator[ast.AST]:
    """Yield the nodes of a function's body; of a function inside only what runs when it is defined."""
    stack: list[ast.AST] = [*reversed(function.body)]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            stack.extend(node.decorator_list)
            stack.extend(node.args.defaults)
            continue
        if isinstance(node, ast.ClassDef):
            stack.extend(node.decorator_list)
            continue
        yield node
        stack.extend(reversed(list(ast.iter_child_nodes(node))))


def _function_of(node: _Function, file: str, prefix: str) -> Function:
    line = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    is_traced = any(
        (dotted := _dotted(each.func if isinstance(each, ast.Call) else each)) is not None
        and not _TRACERS.isdisjoint(dotted.split("."))
        for each in node.decorator_list
    )
    body = (node.body[0].lineno, node.end_lineno or node.lineno)
    return Function(f"{file}:{line}", f"{prefix}{node.name}", file, line, body, is_traced)


def _branches(function: _Function, lines: Sequence[str]) -> Iterator[tuple[int, Sequence[ast.stmt]]]:
    """Yield the line of the word that opens each block, and the block."""
    for node in _own_nodes(function):
        if isinstance(node, ast.If | ast.While | ast.For | ast.AsyncFor):
            yield node.lineno, node.body
            is_elif = isinstance(node, ast.If) and len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If)
            if node.orelse and not (is_elif and _begins(lines, node.orelse[0].lineno, "elif")):
                line = node.orelse[0].lineno
                while line > node.lineno and not _begins(lines, line, "else"):
                    line -= 1
                yield line, node.orelse
        elif isinstance(node, ast.Try | ast.TryStar):
            yield from ((handler.lineno, handler.body) for handler in node.handlers)
        elif isinstance(node, ast.Match):
            yield from ((case.pattern.lineno, case.body) for case in node.cases)


def _begins(lines: Sequence[str], line: int, word: str) -> bool:
    return line <= len(lines) and lines[line - 1].lstrip().startswith(word)


def _dotted(node: ast.expr) -> str | None:
    """Return `a.b.c` of such an expression, else None."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def _absolute(node: ast.ImportFrom, package: str) -> str:
    """Return the module that `from ... import` names, also a relative one."""
    if not node.level:
        return node.module or ""
    above = package.split(".") if package else []
    above = above[: len(above) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])
