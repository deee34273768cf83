"""The nodes that run in the frame of one function, and its local names.

The code object does not show this: since 3.12 it lists the variables of inlined comprehensions
among the locals.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loom._source import Function


@dataclass(frozen=True, slots=True)
class FrameNames:
    """The names of a frame, as written in the text.

    Attributes:
        own: The local variables, parameters included.
        assigned: What the frame, or a nested function by `nonlocal`, assigns or deletes after the
            start.
        deleted: What some `del` or `except ... as` unbinds.
    """

    own: frozenset[str]
    assigned: frozenset[str]
    deleted: frozenset[str]


def frame_nodes(function: Function) -> Iterator[ast.AST]:
    """Yield the nodes that run in the frame of `function`, comprehensions included, parents first.

    Generator expressions are included: what they call is called for this frame. Nested functions do
    not, except for their decorators and defaults.
    """
    pending: list[ast.AST] = list(reversed(function.body))
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            children: list[ast.AST] = [*node.decorator_list, node.args]
        elif isinstance(node, ast.Lambda):
            children = [node.args]
        elif isinstance(node, ast.ClassDef):
            children = [*node.decorator_list, *node.bases, *node.keywords]
        else:
            children = list(ast.iter_child_nodes(node))
        pending.extend(reversed(children))


def names_of(function: Function) -> FrameNames:
    """Collect the names of a frame."""
    elsewhere: set[str] = set()
    assigned: set[str] = set()
    declared: set[str] = set()
    deleted: set[str] = set()
    by_except: set[str] = set()
    foreign: set[int] = set()
    for node in frame_nodes(function):
        match node:
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                foreign.update(id(part) for generator in node.generators for part in ast.walk(generator.target))
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                elsewhere.update(names)
            case ast.AnnAssign(target=ast.Name(id=name), value=None):
                declared.add(name)
                foreign.add(id(node.target))
            case ast.Name(id=name, ctx=ast.Del()):
                deleted.add(name)
            case ast.ExceptHandler(name=str(name)):
                by_except.add(name)
            case ast.Name(id=name, ctx=ast.Store()) if id(node) not in foreign:
                assigned.add(name)
            case (
                ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
                | ast.MatchMapping(rest=str(name))
                | ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
            ):
                assigned.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                assigned.update((alias.asname or alias.name).split(".")[0] for alias in aliases)
    assigned |= deleted | by_except
    parameters = {arg.arg for arg in ast.walk(function.args) if isinstance(arg, ast.arg)}
    inner = (node for node in ast.walk(function) if isinstance(node, ast.Nonlocal))
    return FrameNames(
        own=frozenset((assigned | declared | parameters) - elsewhere),
        assigned=frozenset(assigned.union(*(node.names for node in inner))),
        deleted=frozenset(deleted | by_except),
    )
