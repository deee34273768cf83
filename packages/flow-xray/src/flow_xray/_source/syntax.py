"""Helpers of the index for files and syntax trees: module names, statements, branches."""

import ast
import os
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

from flow_xray._source.functions import Function

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_SKIPPED: Final = frozenset({"node_modules", "site-packages", "__pycache__", "build", "dist", "venv", "env"})
_TRACERS: Final = frozenset({"trace", "traced"})


def python_files(root: str) -> Iterator[str]:
    if os.path.isfile(root):  # noqa: PTH113  pathlib costs 9 ms
        yield root
        return
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and not name.startswith("."))
        yield from (os.path.join(folder, name) for name in sorted(names) if name.endswith(".py"))  # noqa: PTH118  as above


def module_names(file: str, root: str) -> list[str]:
    """Return the names by which a file may be imported: from the root and each folder below."""
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


def statements(parent: ast.AST) -> Iterator[ast.stmt]:
    """Yield the statements of a module, class or function, including those under `if` and `try`.

    Those of nested functions and classes are not included.
    """
    stack: list[ast.AST] = list(getattr(parent, "body", []))[::-1]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.stmt):
            yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for name in ("finalbody", "orelse", "handlers", "cases", "body"):
                inner = getattr(node, name, None)
                stack.extend(reversed(inner) if isinstance(inner, list) else ())


def own_nodes(function: FunctionNode) -> Iterator[ast.AST]:
    """Yield the nodes of a function's body.

    Of a nested function, yield only the nodes that run when it is defined.
    """
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


def function_of(node: FunctionNode, file: str, prefix: str) -> Function:
    line = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    is_traced = any(
        (dotted := dotted_name(each.func if isinstance(each, ast.Call) else each)) is not None
        and not _TRACERS.isdisjoint(dotted.split("."))
        for each in node.decorator_list
    )
    body = (node.body[0].lineno, node.end_lineno or node.lineno)
    return Function(f"{file}:{line}", f"{prefix}{node.name}", file, line, body, is_traced)


def branches(function: FunctionNode, lines: Sequence[str]) -> Iterator[tuple[int, Sequence[ast.stmt]]]:
    """Yield the line of the keyword that opens each block, and the block."""
    for node in own_nodes(function):
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


def dotted_name(node: ast.expr) -> str | None:
    """Return the text `a.b.c` of such an expression, else None."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def absolute(node: ast.ImportFrom, package: str) -> str:
    """Return the absolute name of the module in `from ... import`."""
    if not node.level:
        return node.module or ""
    above = package.split(".") if package else []
    above = above[: len(above) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])
