"""Which names are certainly bound, and whether something was certainly awaited, at each point of a
body.

The loop form runs every step in one frame, so the next step could read a local of the last step
where recursion has an unbound variable. `maybe_unbound` names the locals that some path reads
before it binds them: only these are cleared. The same walk finds out whether a path can reach a
tail call without awaiting anything (`Flow.starving`).

The walk goes once over the tree in evaluation order and keeps the set of names that every path so
far has bound; `None` stands for "cannot be reached". The result is conservative: a name counts as
bound only if that is certain. A name that is deleted anywhere never counts as bound. A loop needs
no second pass, because a set can only have grown when control returns to its head.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from loom._frame import FrameNames

State: TypeAlias = frozenset[str] | None
SUSPENDED = ".suspended"


def join(states: Iterable[State]) -> State:
    """Return what holds on every reachable path."""
    reachable = [state for state in states if state is not None]
    return frozenset.intersection(*reachable) if reachable else None


class Flow:
    """The facts about one body.

    Attributes:
        maybe_unbound: The locals that may be read before this step has bound them.
        starving: The tail calls (by `id` of the call node) that a path reaches without awaiting
            anything.
    """

    def __init__(
        self, body: Sequence[ast.stmt], parameters: Iterable[str], names: FrameNames, tail_calls: set[int]
    ) -> None:
        """Walk `body`.

        Args:
            body: The statements of the function.
            parameters: Bound from the start.
            names: The names of the frame.
            tail_calls: The `id` of every tail call in the body.
        """
        self.maybe_unbound: set[str] = set()
        self.starving: set[int] = set()
        self._own = names.own
        self._tail_calls = tail_calls
        self._deleted = names.deleted
        self._state: State = frozenset(parameters)
        self._breaks: list[list[State]] = []
        self._hidden: list[set[str]] = []
        self._statements(body)

    # ------------------------------------------------------------ states

    def _bind(self, name: str) -> None:
        if self._state is not None and name not in self._deleted:
            self._state |= {name}

    def _read(self, name: str) -> None:
        if self._state is None or name in self._state or name not in self._own:
            return
        if not any(name in names for names in self._hidden):
            self.maybe_unbound.add(name)

    def _branch(self, start: State, walk: Callable[[], None]) -> State:
        self._state = start
        walk()
        return self._state

    # ------------------------------------------------------------ statements

    def _statements(self, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            walk = getattr(self, f"_stmt_{type(statement).__name__.lower()}", None)
            if walk is not None:
                walk(statement)
            else:
                self._generic(statement)

    def _generic(self, node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self._expr(child)
            elif not isinstance(child, ast.expr_context | ast.operator | ast.unaryop | ast.cmpop | ast.boolop):
                self._generic(child)

    def _stmt_assign(self, node: ast.Assign) -> None:
        self._exprs([node.value, *node.targets])

    def _stmt_augassign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._read(node.target.id)
        self._exprs([node.value, node.target])

    def _stmt_annassign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._exprs([node.value, node.target])

    def _stmt_delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            self._expr(target)

    def _stmt_return(self, node: ast.Return) -> None:
        if node.value is not None:
            self._expr(node.value)
        self._state = None

    def _stmt_raise(self, node: ast.Raise) -> None:
        self._exprs([part for part in (node.exc, node.cause) if part is not None])
        self._state = None

    def _stmt_assert(self, node: ast.Assert) -> None:
        before = self._state
        self._expr(node.test)
        if node.msg is not None:
            self._expr(node.msg)
        self._state = before  # with -O it does not run

    def _stmt_break(self, _: ast.Break) -> None:
        self._breaks[-1].append(self._state)
        self._state = None

    def _stmt_continue(self, _: ast.Continue) -> None:
        self._state = None

    def _stmt_if(self, node: ast.If) -> None:
        self._expr(node.test)
        start = self._state
        then = self._branch(start, lambda: self._statements(node.body))
        self._state = join([then, self._branch(start, lambda: self._statements(node.orelse))])

    def _stmt_while(self, node: ast.While) -> None:
        self._expr(node.test)
        endless = isinstance(node.test, ast.Constant) and bool(node.test.value)
        self._loop(node.body, node.orelse, None if endless else self._state)

    def _stmt_for(self, node: ast.For | ast.AsyncFor) -> None:
        self._expr(node.iter)
        if isinstance(node, ast.AsyncFor) and id(node.iter) not in self._tail_calls:
            self._bind(SUSPENDED)
        exhausted = self._state
        self._expr(node.target)
        self._loop(node.body, node.orelse, exhausted)

    _stmt_asyncfor = _stmt_for

    def _loop(self, body: Sequence[ast.stmt], orelse: Sequence[ast.stmt], exhausted: State) -> None:
        self._breaks.append([])
        self._statements(body)
        broken = self._breaks.pop()
        ended = self._branch(exhausted, lambda: self._statements(orelse))
        self._state = join([ended, *broken])

    def _stmt_with(self, node: ast.With | ast.AsyncWith) -> None:
        if isinstance(node, ast.AsyncWith):
            self._expr(node.items[0].context_expr)
            self._bind(SUSPENDED)
        entered = self._state
        for item in node.items:
            self._expr(item.context_expr)
            if item.optional_vars is not None:
                self._expr(item.optional_vars)
        self._statements(node.body)
        self._state = entered  # an exit may swallow an exception from anywhere inside

    _stmt_asyncwith = _stmt_with

    def _stmt_try(self, node: ast.Try | ast.TryStar) -> None:
        start = self._state
        self._statements(node.body)
        self._statements(node.orelse)
        ends = [self._state]
        for handler in node.handlers:
            self._state = start
            if handler.type is not None:
                self._expr(handler.type)
            if handler.name is None:
                self._statements(handler.body)
            else:
                self._hidden.append({handler.name})  # certainly bound here
                self._statements(handler.body)
                self._hidden.pop()
            ends.append(self._state)
        if node.finalbody:
            self._branch(start, lambda: self._statements(node.finalbody))  # while an exception propagates
            self._branch(join(ends), lambda: self._statements(node.finalbody))
        else:
            self._state = join(ends)

    _stmt_trystar = _stmt_try

    def _stmt_match(self, node: ast.Match) -> None:
        self._expr(node.subject)
        start, ends = self._state, []
        irrefutable = False
        for case in node.cases:
            self._state = start
            self._pattern(case.pattern)
            if case.guard is not None:
                self._expr(case.guard)
            self._statements(case.body)
            ends.append(self._state)
            bare = isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None
            irrefutable = irrefutable or (bare and case.guard is None)
        self._state = join(ends if irrefutable else [*ends, start])

    def _pattern(self, pattern: ast.pattern) -> None:
        for node in ast.walk(pattern):
            if isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
                self._bind(node.name)
            elif isinstance(node, ast.MatchMapping) and node.rest:
                self._bind(node.rest)
            elif isinstance(node, ast.Name):
                self._read(node.id)

    def _stmt_functiondef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._exprs([*node.decorator_list, *_defaults(node.args)])
        self._bind(node.name)

    _stmt_asyncfunctiondef = _stmt_functiondef

    def _stmt_classdef(self, node: ast.ClassDef) -> None:
        self._exprs([*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)])
        self._bind(node.name)

    def _stmt_import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            self._bind((alias.asname or alias.name).split(".")[0])

    _stmt_importfrom = _stmt_import

    # ------------------------------------------------------------ expressions

    def _exprs(self, nodes: Iterable[ast.expr]) -> None:
        for node in nodes:
            self._expr(node)

    def _maybe(self, nodes: Iterable[ast.expr]) -> None:
        before = self._state
        self._exprs(nodes)
        self._state = before

    def _expr(self, node: ast.expr) -> None:
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                self._bind(name)
            case ast.Name(id=name):
                self._read(name)
            case ast.NamedExpr(target=ast.Name(id=name), value=value):
                self._expr(value)
                self._bind(name)
            case ast.BoolOp(values=[first, *rest]) | ast.Compare(left=first, comparators=[*rest]) if (
                isinstance(node, ast.BoolOp) or len(rest) > 1
            ):
                self._expr(first)
                self._maybe(rest)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                self._expr(test)
                start = self._state
                then = self._branch(start, lambda: self._expr(body))
                self._state = join([then, self._branch(start, lambda: self._expr(orelse))])
            case ast.Dict(keys=keys, values=values):
                for key, value in zip(keys, values, strict=True):
                    self._exprs([value] if key is None else [key, value])
            case ast.Await(value=value):
                self._expr(value)
                if id(value) not in self._tail_calls:
                    self._bind(SUSPENDED)
            case ast.Yield() | ast.YieldFrom():
                self._generic(node)
                self._bind(SUSPENDED)
            case ast.Call() if id(node) in self._tail_calls:
                self._generic(node)
                if self._state is not None and SUSPENDED not in self._state:
                    self.starving.add(id(node))
            case ast.ListComp() | ast.SetComp() | ast.DictComp():
                self._comprehension(node)
            case ast.GeneratorExp():
                self._expr(node.generators[0].iter)
            case ast.Lambda():
                self._exprs(_defaults(node.args))
            case _:
                self._generic(node)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp) -> None:
        self._expr(node.generators[0].iter)
        before = self._state
        own = {
            target.id
            for generator in node.generators
            for target in ast.walk(generator.target)
            if isinstance(target, ast.Name)
        }
        self._hidden.append(own)
        for position, generator in enumerate(node.generators):
            if position:
                self._expr(generator.iter)
            self._exprs(generator.ifs)
        self._exprs([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])
        self._hidden.pop()
        self._state = before


def _defaults(arguments: ast.arguments) -> list[ast.expr]:
    return [*arguments.defaults, *(default for default in arguments.kw_defaults if default is not None)]
