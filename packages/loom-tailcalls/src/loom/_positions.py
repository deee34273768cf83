"""Which calls are tail calls: the rules as tables, and one walk that applies them.

Theory of operation
-------------------

A call is in tail position when nothing of this step remains to be done after it returns. Tables
decide this for every *edge* of the syntax tree, from a node to one of its fields:

* `STATEMENTS` gives for each statement field what a tail call in it is inside of. `SAME`: nothing
  more than the statement. `LOOP`: a loop that must be left first. `ITERATION`: the same, and an
  iterator is dropped. `BLOCK`: a `try` or `with` that recursion would keep open. `HANDLER`: an
  `except` body, whose exception stays current in recursion. `CLEANUP`: a `finally`, never accepted.
  A field that is not in the table holds no tail calls: nothing can be returned from inside
  `except*`.
* `EXPRESSIONS` gives the operands of a returned expression that are returned unchanged.

In coroutines and functions every `return` of the frame is a candidate.
A generator also makes tail calls by *statements* (`yield from f()`, `async for x in f(): yield x`);
such a statement is in tail position when `return` follows it, or when the end of the body does.
`_Place.ends` carries this fact along the same table.

Everything else that calls the function in this frame is not a tail call and is listed as `stray`.
Nested functions and lambdas are other frames and are not analysed.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Literal, TypeAlias

from loom._frame import frame_nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loom._options import Kind
    from loom._source import Function


class Edge(Enum):
    """The effect of a statement field on the tail position of the statement."""

    SAME = "same"
    LOOP = "loop"
    ITERATION = "iteration"
    BLOCK = "block"
    HANDLER = "handler"
    CLEANUP = "cleanup"


STATEMENTS: dict[tuple[type[ast.AST], str], Edge] = {
    (ast.If, "body"): Edge.SAME,
    (ast.If, "orelse"): Edge.SAME,
    (ast.Match, "cases"): Edge.SAME,
    (ast.match_case, "body"): Edge.SAME,
    (ast.While, "body"): Edge.LOOP,
    (ast.While, "orelse"): Edge.SAME,
    (ast.For, "body"): Edge.ITERATION,
    (ast.For, "orelse"): Edge.SAME,
    (ast.AsyncFor, "body"): Edge.ITERATION,
    (ast.AsyncFor, "orelse"): Edge.SAME,
    (ast.With, "body"): Edge.BLOCK,
    (ast.AsyncWith, "body"): Edge.BLOCK,
    (ast.Try, "body"): Edge.BLOCK,
    (ast.Try, "handlers"): Edge.SAME,
    (ast.Try, "orelse"): Edge.SAME,  # BLOCK when there is a `finally`, see `_edge`
    (ast.Try, "finalbody"): Edge.CLEANUP,
    (ast.TryStar, "body"): Edge.BLOCK,
    (ast.TryStar, "orelse"): Edge.SAME,
    (ast.TryStar, "finalbody"): Edge.CLEANUP,
    (ast.ExceptHandler, "body"): Edge.HANDLER,
}
"""What a tail call inside a statement field is inside of."""

EXPRESSIONS: dict[type[ast.expr], tuple[str, ...]] = {
    ast.IfExp: ("body", "orelse"),
    ast.BoolOp: ("values",),  # of a list, the last one
}
"""The fields whose value is the value of the whole expression."""

CALLS: dict[Kind, type[ast.expr] | None] = {
    "function": None,
    "coroutine": ast.Await,
    "generator": ast.YieldFrom,
    "async generator": None,
}
"""The node around a returned tail call; an async generator cannot return a value."""

LITERALS = (ast.List, ast.Tuple, ast.Set, ast.Dict, ast.Constant, ast.JoinedStr)
Form: TypeAlias = Literal["return", "delegate", "stream"]


INSIDE = frozenset({Edge.BLOCK, Edge.HANDLER, Edge.CLEANUP})


@dataclass(frozen=True, slots=True)
class Block:
    """A block around a tail call."""

    node: ast.AST
    edge: Edge

    @property
    def keyword(self) -> str:
        """Return the word that opens the block in the text."""
        if self.edge is Edge.CLEANUP:
            return "finally"
        return BLOCK_KEYWORDS[type(self.node)]


BLOCK_KEYWORDS: dict[type[ast.AST], str] = {
    ast.Try: "try",
    ast.TryStar: "try",
    ast.With: "with",
    ast.AsyncWith: "async with",
    ast.ExceptHandler: "except",
}


@dataclass(frozen=True, slots=True)
class Site:
    """One tail call.

    Attributes:
        call: The call node.
        anchor: The statement that contains it; its place is the place of the jump.
        form: `return`: its value is returned. `delegate`: `yield from f()` whose value is dropped.
            `stream`: a loop that yields on every value.
        blocks: The blocks around it, outermost first: edges BLOCK, HANDLER and CLEANUP only.
        iterators: The `for` statements that are left by it.
        leaves_by: The `return` that follows a delegation; recursion passes it when the deeper steps
            are done.
    """

    call: ast.Call
    anchor: ast.stmt
    form: Form
    blocks: tuple[Block, ...]
    iterators: tuple[ast.For | ast.AsyncFor, ...]
    leaves_by: ast.Return | None

    @property
    def open_blocks(self) -> tuple[Block, ...]:
        """Return the blocks that recursion would keep open: not an `except` body without
        `finally`.
        """
        return tuple(block for block in self.blocks if block.edge is not Edge.HANDLER)

    @property
    def in_handler(self) -> bool:
        """Tell whether an exception is being handled here."""
        return any(block.edge is Edge.HANDLER for block in self.blocks)


@dataclass(frozen=True, slots=True)
class Positions:
    """The calls of one frame."""

    sites: tuple[Site, ...]
    stray: tuple[ast.Call, ...]
    bad_streams: tuple[ast.For | ast.AsyncFor, ...]
    unawaited: tuple[ast.Call, ...]


def find_positions(
    function: Function, kind: Kind, is_candidate: Callable[[ast.Call], bool], is_self: Callable[[ast.Call], bool]
) -> Positions:
    """Classify the calls in the frame of `function`.

    Args:
        function: The definition.
        kind: What it defines.
        is_candidate: Whether a call in tail position is one that may reach the function (or its
            group).
        is_self: Whether a call elsewhere certainly calls the function itself.
    """
    walk = _Walk(kind, is_candidate)
    walk.body(function.body, _Place())
    accepted = {id(site.call) for site in walk.sites}
    strays: list[ast.Call] = []
    streams: list[ast.For | ast.AsyncFor] = []
    unawaited: list[ast.Call] = []
    returned = {id(node.value): node for node in frame_nodes(function) if isinstance(node, ast.Return)}
    for node in frame_nodes(function):
        if isinstance(node, ast.For | ast.AsyncFor) and isinstance(node.iter, ast.Call):
            if id(node.iter) not in accepted and is_self(node.iter) and isinstance(node, STREAMS[kind]):
                streams.append(node)
                accepted.add(id(node.iter))
        elif isinstance(node, ast.Call) and id(node) not in accepted and is_self(node):
            (unawaited if kind == "coroutine" and id(node) in returned else strays).append(node)
    return Positions(tuple(walk.sites), tuple(strays), tuple(streams), tuple(unawaited))


def tail_operands(expression: ast.expr) -> list[ast.expr]:
    """Return the innermost operands in tail position of a returned expression."""
    fields = EXPRESSIONS.get(type(expression))
    if fields is None:
        return [expression]
    operands = [getattr(expression, field) for field in fields]
    return [last for part in operands for last in tail_operands(part[-1] if isinstance(part, list) else part)]


def stream_variable(loop: ast.stmt) -> str | None:
    """Return `x` if the loop is exactly `for x in ...: yield x`."""
    match loop:
        case (
            ast.For(target=ast.Name(id=target), body=[ast.Expr(value=ast.Yield(value=ast.Name(id=value)))], orelse=[])
            | ast.AsyncFor(
                target=ast.Name(id=target), body=[ast.Expr(value=ast.Yield(value=ast.Name(id=value)))], orelse=[]
            )
        ) if target == value:
            return target
    return None


@dataclass(frozen=True, slots=True)
class _Place:
    """The place of a statement: what it is inside of, and whether the function ends after it (by
    which `return`).
    """

    blocks: tuple[Block, ...] = ()
    iterators: tuple[ast.For | ast.AsyncFor, ...] = ()
    ends: bool = True
    leaves_by: ast.Return | None = None

    def before(self, following: ast.stmt | None) -> _Place:
        """Return the place of a statement of this list that is followed by another one."""
        if following is None:
            return self
        leaves_by = following if isinstance(following, ast.Return) and _returns_nothing(following) else None
        return replace(self, ends=leaves_by is not None, leaves_by=leaves_by)

    def inside(self, node: ast.AST, field: str, edge: Edge) -> _Place:
        """Return the place of the statements in a field."""
        blocks, iterators = self.blocks, self.iterators
        if edge in INSIDE:
            blocks = (*blocks, Block(node, edge))
        if edge is Edge.ITERATION and isinstance(node, ast.For | ast.AsyncFor):
            iterators = (*iterators, node)
        ends = self.ends and _falls_to_the_end(node, field, edge)
        return _Place(blocks, iterators, ends, self.leaves_by if ends else None)


class _Walk:
    """The walk over the statements; it collects the sites."""

    def __init__(self, kind: Kind, is_candidate: Callable[[ast.Call], bool]) -> None:
        self.sites: list[Site] = []
        self._kind = kind
        self._wrapper = CALLS[kind]
        self._is_candidate = is_candidate

    def body(self, statements: Sequence[ast.stmt], place: _Place) -> None:
        """Visit a list of statements."""
        for statement, following in zip(statements, [*statements[1:], None], strict=True):
            self._statement(statement, place.before(following))

    def _statement(self, statement: ast.stmt, place: _Place) -> None:
        if isinstance(statement, ast.Return):
            if statement.value is not None and self._kind != "async generator":
                for operand in tail_operands(statement.value):
                    self._add(self._unwrapped(operand), statement, "return", place)
            return
        if place.ends and self._kind == "generator" and isinstance(statement, ast.Expr):
            if isinstance(statement.value, ast.YieldFrom):
                self._add(statement.value.value, statement, "delegate", place)
            return
        if place.ends and isinstance(statement, STREAMS[self._kind]) and stream_variable(statement) is not None:
            self._add(statement.iter, statement, "stream", place)
        self._inside(statement, place)

    def _inside(self, node: ast.AST, place: _Place) -> None:
        """Visit the statement lists inside a node, by the table."""
        for field in node._fields:
            edge = _edge(node, field)
            children = getattr(node, field)
            if edge is None or not children:
                continue
            inner = place.inside(node, field, edge)
            if isinstance(children[0], ast.stmt):
                self.body(children, inner)
            else:
                for child in children:
                    self._inside(child, inner)

    def _unwrapped(self, operand: ast.expr) -> ast.expr | None:
        if self._wrapper is None:
            return operand
        if isinstance(operand, ast.Await | ast.YieldFrom) and type(operand) is self._wrapper:
            return operand.value
        return None

    def _add(self, call: ast.expr | None, anchor: ast.stmt, form: Form, place: _Place) -> None:
        if isinstance(call, ast.Call) and self._is_candidate(call):
            dropped = tuple(loop for loop in place.iterators if not is_plain_iterable(loop))
            self.sites.append(Site(call, anchor, form, place.blocks, dropped, place.leaves_by))


STREAMS: dict[Kind, tuple[type[ast.For | ast.AsyncFor], ...]] = {
    "function": (),
    "coroutine": (),
    "generator": (ast.For,),
    "async generator": (ast.AsyncFor,),
}


def is_plain_iterable(loop: ast.For | ast.AsyncFor) -> bool:
    """Tell whether releasing the iterator of this loop certainly runs no code."""
    if isinstance(loop, ast.AsyncFor):
        return False
    is_range = isinstance(loop.iter, ast.Call) and isinstance(loop.iter.func, ast.Name) and loop.iter.func.id == "range"
    return is_range or isinstance(loop.iter, LITERALS)


def _edge(node: ast.AST, field: str) -> Edge | None:
    """Return the edge of a field; handlers and `else` are followed by `finally`, if there is
    one.
    """
    edge = STATEMENTS.get((type(node), field))
    if edge is Edge.SAME and isinstance(node, ast.Try | ast.TryStar) and node.finalbody:
        return Edge.BLOCK
    return edge


def _falls_to_the_end(node: ast.AST, field: str, edge: Edge) -> bool:
    """Tell whether the end of the field is the end of the statement."""
    if edge in (Edge.LOOP, Edge.ITERATION):
        return False
    return not (isinstance(node, ast.Try | ast.TryStar) and field == "body" and node.orelse)


def _returns_nothing(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.Return):
        return False
    return statement.value is None or (isinstance(statement.value, ast.Constant) and statement.value.value is None)
