"""An index of Python source by `ast`: functions, who may call whom, and the branches inside.

None of it is executed.

Theory of operation. The functions, imports and classes of each file are collected. The line of a
function is that of its first decorator, as `co_firstlineno` has it at run time. Then each reference
is resolved, in this order:

* a bare name: a function defined inside the enclosing functions, then in the module, then an import
  of a module that is in the index; a class stands for its `__init__`;
* `self.name` and `cls.name`: a method of the class, then of its bases that are in the index;
* `module.name`: of an imported module of the index;
* `anything.name(...)`: every method of that name in the index, when there are at most
  `_MAX_GUESSES`.

A function that is only referenced (a callback, a list of tools) counts as a possible call. Not
covered: calls through `getattr`, a registry of names or an import at run time; a run shows them as
*runtime*.
"""

import ast
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from flow_xray._source.functions import Branch, Function
from flow_xray._source.syntax import (
    FunctionNode,
    absolute,
    branches,
    dotted_name,
    function_of,
    module_names,
    own_nodes,
    python_files,
    statements,
)

_MAX_GUESSES: Final = 4


@dataclass(slots=True)
class _Scope:
    """The targets of the names in a module or function."""

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
class _Pending:
    """A function whose references are not resolved yet."""

    function: Function
    node: FunctionNode
    scope: _Scope
    owner: _Class | None


class SourceIndex:
    """The functions under some roots.

    Args:
        roots: Files or folders.

    Attributes:
        functions: The functions by id.
        notes: Descriptions of the files that could not be read.
    """

    __slots__ = ("_by_method", "_classes", "_modules", "_pending", "_source", "functions", "notes")

    def __init__(self, roots: Sequence[str]) -> None:
        self.functions: dict[str, Function] = {}
        self.notes: list[str] = []
        self._modules: dict[str, _Scope] = {}
        self._classes: dict[str, _Class] = {}
        self._by_method: dict[str, list[str]] = {}
        self._pending: list[_Pending] = []
        self._source: dict[str, list[str]] = {}
        for root in roots:
            for path in python_files(root):
                self._read(path, root)
        for pending in self._pending:
            self._resolve(pending)

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
                warnings.simplefilter("ignore")  # do not show warnings about the user's source
                tree = ast.parse(content, file)
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
            self.notes.append(f"{file} was left out: {type(error).__name__}: {error}")
            return
        self._source[file] = content.decode("utf-8", "replace").splitlines()
        scope = _Scope({})
        for name in module_names(file, root):
            self._modules.setdefault(name, scope)
        package = module_names(file, root)[0]
        if os.path.basename(file) != "__init__.py":  # noqa: PTH119  as above
            package = package.rpartition(".")[0]
        self._collect(tree, file, scope, package)

    def _collect(self, tree: ast.Module, file: str, module: _Scope, package: str) -> None:
        """Add the definitions of a module; functions inside functions get their own scope."""
        stack: list[tuple[ast.AST, _Scope, _Class | None, str]] = [(tree, module, None, "")]
        while stack:
            parent, scope, owner, prefix = stack.pop()
            for node in statements(parent):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    function = function_of(node, file, prefix)
                    self.functions[function.id] = function
                    if owner is None:
                        scope.names[node.name] = function.id
                    else:
                        owner.methods[node.name] = function.id
                        self._by_method.setdefault(node.name, []).append(function.id)
                    inner = _Scope({}, scope)
                    self._pending.append(_Pending(function, node, inner, owner))
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
                    source = absolute(node, package)
                    for alias in node.names:
                        scope.names[alias.asname or alias.name] = f"i:{source}:{alias.name}"

    # ------------------------------------------------------------------ resolving

    def _resolve(self, pending: _Pending) -> None:
        function = pending.function
        called: set[ast.expr] = set()
        for node in own_nodes(pending.node):
            if isinstance(node, ast.Call):
                called.add(node.func)
            elif node in called:
                continue  # the name in a call is not a second reference
            for found in self._named(node, pending):
                if found in self.functions:
                    function.counts[found] = function.counts.get(found, 0) + 1
        function.calls = list(function.counts)
        lines = self._source[function.file]
        for line, block in branches(pending.node, lines):
            if all(isinstance(each, ast.Pass) for each in block):
                continue
            calls = tuple(
                target
                for node in ast.walk(block[0])
                if isinstance(node, ast.Call)
                for target in self._target(node.func, pending)
                if target in self.functions
            )
            text = lines[line - 1].strip() if line <= len(lines) else ""
            span = (block[0].lineno, block[-1].end_lineno or block[-1].lineno)
            function.branches.append(Branch(line, text, span, calls))

    def _named(self, node: ast.AST, pending: _Pending) -> Iterator[str]:
        """Yield the functions that one node of a function's body may stand for."""
        if isinstance(node, ast.Call):
            yield from self._target(node.func, pending, may_guess=True)
        elif (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)) or isinstance(node, ast.Attribute):
            yield from self._target(node, pending)

    def _target(self, node: ast.expr, pending: _Pending, *, may_guess: bool = False) -> Iterator[str]:
        if isinstance(node, ast.Name):
            yield from self._resolved(pending.scope.find(node.id))
        elif isinstance(node, ast.Attribute):
            base = node.value
            if isinstance(base, ast.Name) and base.id in ("self", "cls") and pending.owner is not None:
                found = self._method(pending.owner, node.attr)
                if found is not None:
                    yield found
                return
            dotted = dotted_name(base)
            if dotted is not None and (known := pending.scope.find(dotted.partition(".")[0])) is not None:
                member = self._member(known, f"{dotted}.{node.attr}".partition(".")[2])
                if member is not None or known.startswith("m:"):
                    yield from self._resolved(member)
                    return
            guesses = self._by_method.get(node.attr, []) if may_guess else []
            if len(guesses) <= _MAX_GUESSES:
                yield from guesses

    def _resolved(self, found: str | None) -> Iterator[str]:
        """Yield the function behind a name: itself, an import, or the `__init__` of a class."""
        for _ in range(10):  # an import of an import of ...
            if found is None or not found.startswith("i:"):
                break
            module, _, name = found[2:].rpartition(":")
            scope = self._modules.get(module)
            found = scope.names.get(name) if scope is not None else None
        if found is not None and found.startswith("c:"):
            init = self._method(self._classes[found], "__init__")
            if init is not None:
                yield init
        elif found is not None:
            yield found

    def _member(self, known: str, path: str) -> str | None:
        """Resolve `module.sub.name` or `Class.name`, given what the first word stands for."""
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
                dotted = dotted_name(base)
                key = found.scope.find(dotted) if dotted is not None and "." not in dotted else None
                if key is not None and key.startswith("i:"):
                    module, _, imported = key[2:].rpartition(":")
                    scope = self._modules.get(module)
                    key = scope.names.get(imported) if scope is not None else None
                if key in self._classes and key not in seen and key is not None:
                    seen.add(key)
                    waiting.append(self._classes[key])
        return None
