"""The walk over statements that both forms share, and the splitting of returned expressions.

A form defines two things: what a tail call becomes (`jump`), and what follows a loop that a tail
call has left (`after_loop`). Nodes of statements without a tail call are reused unchanged.
"""

from __future__ import annotations

import ast
import copy
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from loom._nodes import NOWHERE, Build
from loom._positions import STATEMENTS, Edge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loom._source import Function
    from loom._verdict import Analysis, TailCall


@dataclass(frozen=True, slots=True)
class Lowered:
    """A rewritten definition.

    Attributes:
        node: The definition to compile.
        helpers: The cells of this package that it uses.
        defaults: The parameters whose defaults it reads at entry, in the order in which `.enter`
            returns them.
    """

    node: Function
    helpers: tuple[str, ...]
    defaults: tuple[str, ...] = ()


class Lowering:
    """The walk over a body; the forms derive from it."""

    def __init__(self, analysis: Analysis) -> None:
        """Prepare the tables of one definition."""
        self.analysis = analysis
        self.kind = analysis.kind
        self.parameters = analysis.parameters
        self.helpers: set[str] = set()
        self._by_call = {id(call.site.call): call for call in analysis.calls}
        self._by_anchor = {id(call.site.anchor): call for call in analysis.calls if call.site.form != "return"}
        self._touched = _ancestors(analysis.definition.node.body, set(self._by_call))
        self._drops = any(call.site.form != "return" for call in analysis.calls) and self.kind == "generator"

    # ------------------------------------------------------------ what a form defines

    def jump(self, call: TailCall, depth: int) -> tuple[list[ast.stmt], ast.Call]:
        """Return the statements of the transition, and the original call for any other callee."""
        raise AssertionError(call, depth)

    def after_loop(self, loop: ast.stmt, depth: int) -> list[ast.stmt]:
        """Return what follows a loop that a tail call in its body may have left."""
        del loop, depth
        return []

    def after_with(self, block: ast.stmt) -> list[ast.stmt]:
        """Return what follows a `with` that holds a tail call, when it ends normally."""
        del block
        return []

    def handler_head(self) -> list[ast.stmt]:
        """Return what a handler of a `try` that holds a tail call begins with."""
        return []

    def returned(self, value: ast.expr | None, anchor: ast.stmt) -> list[ast.stmt]:
        """Return the statements for a plain `return value`."""
        return [Build(anchor).return_(value)]

    def passing(self, call: TailCall) -> list[ast.stmt]:
        """Add the lines that recursion passes around a delegation, for debuggers: `yield x` and
        `return`.
        """
        loop = call.site.anchor
        passed: list[ast.stmt | None] = [loop.body[0]] if isinstance(loop, ast.For | ast.AsyncFor) else []
        if call.site.form != "return":
            passed.append(call.site.leaves_by)
        return [ast.Pass(**Build(statement).place) for statement in passed if statement is not None]

    def binder(self, at: Build) -> ast.expr:
        """Return the callee that binds a call: the generated function, with its current defaults
        where these may change.
        """
        if self.analysis.defaults_are_live:
            self.helpers.add(".binder")
            return at.call(at.load(".binder"))
        self.helpers.add(".bind")
        return at.load(".bind")

    # ------------------------------------------------------------ the walk

    def statements(self, body: Sequence[ast.stmt], depth: int) -> list[ast.stmt]:
        """Rewrite a list of statements inside `depth` loops of the user."""
        return [new for statement in body for new in self._statement(statement, depth)]

    def _statement(self, statement: ast.stmt, depth: int) -> list[ast.stmt]:
        holds = id(statement) in self._touched
        if isinstance(statement, ast.Return):
            if holds and statement.value is not None:
                return self._tail(statement.value, statement, depth)
            return self.returned(statement.value, statement)
        if not holds and not self._drops:
            return [statement]
        call = self._by_anchor.get(id(statement))
        if call is not None:
            return self._delegation(call, statement, depth)
        return self._compound(statement, depth, holds=holds)

    def _delegation(self, call: TailCall, statement: ast.stmt, depth: int) -> list[ast.stmt]:
        jump, fallback = self.jump(call, depth)
        original = copy.copy(statement)
        if isinstance(original, ast.For | ast.AsyncFor):
            original.iter = fallback
        elif isinstance(original, ast.Expr) and isinstance(original.value, ast.YieldFrom):
            original.value = ast.copy_location(ast.YieldFrom(value=fallback), original.value)
        return [*jump, original]

    def _compound(self, statement: ast.stmt, depth: int, *, holds: bool) -> list[ast.stmt]:
        new = self._rebuilt(statement, depth)
        follows: list[ast.stmt] = []
        if isinstance(statement, ast.For | ast.AsyncFor | ast.While):
            if any(id(inner) in self._touched for inner in statement.body):
                follows = self.after_loop(statement, depth)
        elif isinstance(statement, ast.With | ast.AsyncWith) and holds:
            follows = self.after_with(statement)
        return [new, *follows]

    def _rebuilt(self, node: ast.stmt, depth: int) -> ast.stmt:
        new = copy.copy(node)
        for field in node._fields:
            edge = STATEMENTS.get((type(node), field))
            if edge is None:
                continue
            inner = depth + 1 if edge in (Edge.LOOP, Edge.ITERATION) else depth
            children = getattr(node, field)
            if children and isinstance(children[0], ast.stmt):
                setattr(new, field, self.statements(children, inner))
            else:
                setattr(new, field, [self._part(child, inner, id(node) in self._touched) for child in children])
        return new

    def _part(self, node: ast.ExceptHandler | ast.match_case, depth: int, holds: bool) -> ast.AST:
        new = copy.copy(node)
        head = self.handler_head() if holds and isinstance(node, ast.ExceptHandler) else []
        new.body = [*head, *self.statements(node.body, depth)]
        return new

    # ------------------------------------------------------------ returned expressions

    def _tail(self, value: ast.expr, anchor: ast.stmt, depth: int) -> list[ast.stmt]:
        """Rewrite `return value`; operands in tail position become separate returns."""
        here = Build(value)
        operand = value.value if isinstance(value, ast.Await | ast.YieldFrom) else value
        call = self._by_call.get(id(operand))
        if call is not None:
            jump, fallback = self.jump(call, depth)
            made: ast.expr = fallback
            if isinstance(value, ast.Await | ast.YieldFrom):
                made = ast.copy_location(type(value)(value=fallback), value)
            return [*jump, *self.returned(made, anchor)]
        if id(value) in self._touched and isinstance(value, ast.IfExp):
            return [
                here.if_(value.test, self._tail(value.body, anchor, depth), self._tail(value.orelse, anchor, depth))
            ]
        if id(value) in self._touched and isinstance(value, ast.BoolOp):
            stop_if = isinstance(value.op, ast.Or)
            before = [new for part in value.values[:-1] for new in self._operand(part, anchor, stop_if=stop_if)]
            return before + self._tail(value.values[-1], anchor, depth)
        return self.returned(value, anchor)

    def _operand(self, value: ast.expr, anchor: ast.stmt, *, stop_if: bool) -> list[ast.stmt]:
        """Return `value` if its truth is `stop_if`, else continue; test the truth as often as this
        Python does.
        """
        at = Build(value)
        if isinstance(value, ast.BoolOp) and threads_jumps():
            if isinstance(value.op, ast.Or) is stop_if:
                return [new for part in value.values for new in self._operand(part, anchor, stop_if=stop_if)]
            head = value.values[:-1]
            test = head[0] if len(head) == 1 else ast.BoolOp(op=value.op, values=head, **at.place)
            inner = self._operand(value.values[-1], anchor, stop_if=stop_if)
            return [at.if_(test if stop_if else at.not_(test), inner)]
        held = at.load(".value")
        return [
            at.set(".value", value),
            at.if_(held if stop_if else at.not_(held), self.returned(at.load(".value"), anchor)),
        ]


@cache
def threads_jumps() -> bool:
    """Tell whether this compiler tests a false `a` once in `(a and b) or c`, as 3.11 does, or
    twice.
    """

    class Asked:
        count = 0

        def __bool__(self) -> bool:
            self.count += 1
            return False

    asked = Asked()
    _ = (asked and asked) or asked
    return asked.count == 1


def first_line_of(body: Sequence[ast.stmt]) -> Build:
    """Return the place of the first statement that has code, so that what precedes it adds no
    executed line.
    """
    silent = (ast.Global, ast.Nonlocal) if __debug__ else (ast.Global, ast.Nonlocal, ast.Assert)
    for statement in body:
        if isinstance(statement, silent) or (isinstance(statement, ast.AnnAssign) and statement.value is None):
            continue
        decorators = getattr(statement, "decorator_list", [])
        return Build(decorators[0] if decorators else statement)
    return NOWHERE


def split_docstring(body: list[ast.stmt]) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """Separate the docstring, which must stay the first statement."""
    match body:
        case [ast.Expr(value=ast.Constant(value=str())), *rest]:
            return body[:1], rest
    return [], body


def _ancestors(body: Sequence[ast.stmt], calls: set[int]) -> set[int]:
    """Return the `id` of every node that is one of the calls or holds one."""
    parents: dict[int, ast.AST] = {}
    wanted: list[ast.AST] = []
    pending: list[ast.AST] = list(body)
    while pending:
        node = pending.pop()
        if id(node) in calls:
            wanted.append(node)
        for child in ast.iter_child_nodes(node):
            parents[id(child)] = node
            pending.append(child)
    found: set[int] = set()
    for node in wanted:
        holder: ast.AST | None = node
        while holder is not None and id(holder) not in found:
            found.add(id(holder))
            holder = parents.get(id(holder))
    return found
