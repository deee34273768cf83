"""The step form: a fresh frame for each step, and a driver that runs them one by one.

Theory of operation
-------------------

The body becomes a *step function*. It takes every parameter by position, already bound. Where it
makes a tail call it returns a `Next` with the bound arguments of the following step; any other
value is the result. So a closure gets its own cells in each step, and a `try` or `with` is left by
an ordinary `return`: the arguments are bound inside the block, and every block of this step is left
with the old parameters and without an exception.

The public function has the user's signature and is the driver of the steps (`DRIVERS`). The same
step function is used for groups, where the next step may be that of another member, and for
`transition`, where the caller is the driver.

An async generator cannot return a value. Its step function gets a list `.out` first and puts the
`Next` there; if a handler or an exit then runs instead of the return, it clears the list again
(`handler_head`, `after_with`).

With `blocks="exact"` a tail call inside a block does not end the step: it yields a `Push`, and the
frame waits on the heap until the driver has the result. A plain function becomes a generator for
that, used only by its driver.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from loom._codegen import bare, definition_like
from loom._lowering import Lowered, Lowering, first_line_of, split_docstring
from loom._nodes import NOWHERE, Build, call_with
from loom._signature import Bound, Default
from loom._source import parse

if TYPE_CHECKING:
    from loom._options import Kind
    from loom._verdict import Analysis, TailCall

DRIVERS: dict[Kind, str] = {
    "function": """
state = member.step(*parameters)
while type(state) is Next:
    state = state[0].step(*state[1])
return state
""",
    "coroutine": """
state = await member.step(*parameters)
while type(state) is Next:
    turn
    state = await state[0].step(*state[1])
return state
""",
    "generator": """
drop = False
state = yield from member.step(*parameters)
while type(state) is Next:
    drop = drop or state[2]
    state = yield from state[0].step(*state[1])
return None if drop else state
""",
    "async generator": """
out = []
frame = member.step(out, *parameters)
while True:
    try:
        value = await frame.asend(None)
        while True:
            try:
                sent = yield value
            except GeneratorExit:
                await frame.aclose()
                raise
            except BaseException as error:
                value = await frame.athrow(error)
            else:
                value = await frame.asend(sent)
    except StopAsyncIteration:
        pass
    if not out:
        return
    turn
    state = out.pop()
    frame = state[0].step(out, *state[1])
""",
}
"""How each kind of function runs its steps. Names get a dot in front; at `turn`, `yield_every`
counts.
"""

EXACT_DRIVERS: dict[Kind, str] = {
    "function": "return call_frames(member.step(*parameters))",
    "coroutine": "return await await_frames(member.step(*parameters), is_generator=True)",
    "generator": "return (yield from run_frames(member.step(*parameters), is_generator=True))",
    "async generator": """
waiting = []
out = []
frame = member.step(out, *parameters)
error = sent = None
while True:
    try:
        if error is None:
            value = await frame.asend(sent)
        else:
            try:
                value = await frame.athrow(error)
            finally:
                error = None
    except StopAsyncIteration:
        sent = None
        if out:
            state = out.pop()
            frame = state[0].step(out, *state[1])
        elif waiting:
            frame, out = waiting.pop()
        else:
            return
        continue
    except BaseException as raised:
        if not waiting:
            raise
        error = raised
        frame, out = waiting.pop()
        continue
    if type(value) is Push:
        waiting.append((frame, out))
        out = []
        frame, sent = value[0].step(out, *value[1]), None
        continue
    try:
        sent = yield value
        if waiting:
            sent = None
    except BaseException as raised:
        error = raised
        if waiting:
            frame, out = waiting[0]
            waiting.clear()
""",
}
"""The drivers for `blocks="exact"`. Thrown-in exceptions reach the outermost waiting frame of an
async generator.
"""

TURN = """
left -= 1
if not left:
    left = every
    await pause()
"""
GLOBAL_NAMES = frozenset({"BaseException", "GeneratorExit", "StopAsyncIteration"})
HELPERS = frozenset({"member", "type", "Next", "Push", "pause", "call_frames", "await_frames", "run_frames"})


def lower_to_step(analysis: Analysis, *, accepts_original: bool) -> Lowered:
    """Rewrite a definition as its step function."""
    return _Step(analysis, accepts_original=accepts_original).lower()


def lower_to_driver(analysis: Analysis) -> Lowered:
    """Build the public function that drives the steps of a definition."""
    node = analysis.definition.node
    _, rest = split_docstring(node.body)
    keeps = any(call.keeps_blocks for call in analysis.calls)
    template = _Template(first_line_of(rest), analysis)
    body = template.statements((EXACT_DRIVERS if keeps else DRIVERS)[analysis.kind])
    made = definition_like(node, bare(node).args, body, is_async=isinstance(node, ast.AsyncFunctionDef))
    return Lowered(made, tuple(sorted(template.helpers)))


def lower_to_binder(analysis: Analysis) -> Lowered:
    """Build the function that binds a call and returns the arguments by position."""
    node = analysis.definition.node
    names = NOWHERE.tuple(NOWHERE.load(name) for name in analysis.parameters.all)
    made = definition_like(node, bare(node).args, [NOWHERE.return_(names)], is_async=False)
    return Lowered(made, ())


class _Template(ast.NodeTransformer):
    """Converts the text of a driver to statements with one place."""

    def __init__(self, at: Build, analysis: Analysis) -> None:
        self.helpers = {".member"}
        self._at = at
        self._analysis = analysis

    def statements(self, text: str) -> list[ast.stmt]:
        """Parse the text of a function body."""
        every = self._analysis.options.yield_every
        lines = []
        for line in text.strip().splitlines():
            indent = line[: len(line) - len(line.lstrip())]
            counting = TURN.strip().splitlines() if line.strip() == "turn" else [line.strip()]
            if line.strip() != "turn" or every is not None:
                lines += [indent + part for part in counting]
        if every is not None:
            lines.insert(0, "left = every")
        tree = parse("async def f():\n" + "\n".join(f"    {line}" for line in lines), "<step>").body[0]
        assert isinstance(tree, ast.AsyncFunctionDef)
        return [self.visit(statement) for statement in tree.body]

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Give every node the place."""
        if isinstance(node, ast.stmt | ast.expr | ast.ExceptHandler | ast.keyword):
            for key, value in self._at.place.items():
                setattr(node, key, value)
        if isinstance(node, ast.ExceptHandler) and node.name is not None:
            node.name = f".{node.name}"
        return super().generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Put a dot in front of a name."""
        if node.id == "every":
            return self._at.constant(self._analysis.options.yield_every)
        if node.id in HELPERS or node.id in GLOBAL_NAMES:
            self.helpers.add(f".{node.id}")
        return ast.Name(id=f".{node.id}", ctx=node.ctx, **self._at.place)

    def visit_Call(self, node: ast.Call) -> ast.Call:
        """Replace `*parameters` by the parameters."""
        spread = node.args.pop() if node.args and isinstance(node.args[-1], ast.Starred) else None
        self.generic_visit(node)
        if spread is None:
            return node
        if isinstance(spread, ast.Starred) and isinstance(spread.value, ast.Name):
            node.args += [self._at.load(name) for name in self._analysis.parameters.all]
        else:
            node.args.append(self.visit(spread))
        return node


class _Step(Lowering):
    def __init__(self, analysis: Analysis, *, accepts_original: bool) -> None:
        super().__init__(analysis)
        self._accepts_original = accepts_original
        self._drops = False
        self._keeps = any(call.keeps_blocks for call in analysis.calls)

    def lower(self) -> Lowered:
        node = self.analysis.definition.node
        names = list(self.parameters.all)
        if self.kind == "async generator":
            names.insert(0, ".out")
        body = self.statements(node.body, 0)
        made = definition_like(node, NOWHERE.arguments(names), body, is_async=isinstance(node, ast.AsyncFunctionDef))
        if self.kind == "function" and self._keeps:
            never = NOWHERE.if_(NOWHERE.constant(False), [NOWHERE.expr(ast.Yield(value=None, **NOWHERE.place))])
            made.body.append(never)
        return Lowered(made, tuple(sorted(self.helpers)))

    # ------------------------------------------------------------ the transition

    def jump(self, call: TailCall, depth: int) -> tuple[list[ast.stmt], ast.Call]:
        """Test the callee and end the step with the bound arguments; the original call follows for
        any other callee.
        """
        del depth
        site = call.site
        callee = site.call.func
        at = Build(callee)
        self.helpers |= {".self", ".member"}
        if self.analysis.options.group is not None:
            self.helpers.add(".lookup")
            found = at.call(at.load(".lookup"), at.load(".callee"))
            is_found = at.not_(at.is_(at.load(".target"), at.constant(None)))
            member = _item(at, ".target", 0)
            args: ast.expr = call_with(site.call, _item(at, ".target", 1))
            made: list[ast.stmt] = [
                at.set(".callee", callee),
                at.set(".target", found),
                at.if_(is_found, self._end_step(call, member, args)),
            ]
            return made, call_with(site.call, at.load(".callee"))
        if isinstance(callee, ast.Name):
            (route,) = call.routes
            body = self._end_step(call, at.load(".member"), self._arguments(call, route.bound, None))
            return [at.if_(self._is_this_function(at, callee), body)], site.call
        made = [at.set(".callee", callee)]
        for route in call.routes:
            test = self._is_this_function(at, at.load(".callee"))
            receiver: ast.expr | None = None
            if route.access == "method":
                self.helpers |= {".type", ".Method"}
                is_method = at.is_(at.call(at.load(".type"), at.load(".callee")), at.load(".Method"))
                test = at.all(is_method, self._is_this_function(at, at.attribute(at.load(".callee"), "__func__")))
                receiver = at.attribute(at.load(".callee"), "__self__")
            arguments = self._arguments(call, route.bound, receiver)
            made.append(at.if_(test, self._end_step(call, at.load(".member"), arguments)))
        return made, call_with(site.call, at.load(".callee"))

    def _is_this_function(self, at: Build, callee: ast.expr) -> ast.expr:
        tests: list[ast.expr] = [at.is_(callee, at.load(".self"))]
        if self._accepts_original:
            self.helpers.add(".orig")
            tests.append(at.is_(callee, at.load(".orig")))
        return at.any(*tests)

    def _arguments(self, call: TailCall, bound: Bound | None, receiver: ast.expr | None) -> ast.expr:
        """Build the tuple of arguments: directly if they are in order, else by the binder."""
        at = Build(call.site.call)
        if bound is not None and [name for name, _ in bound.values] == list(self.parameters.all):
            parts = [value for _, value in bound.values if not isinstance(value, Default)]
            if len(parts) == len(bound.values):
                return at.tuple([receiver, *parts[1:]] if receiver is not None else parts)
        return call_with(call.site.call, self.binder(Build(call.site.call.func)), receiver)

    def _end_step(self, call: TailCall, member: ast.expr, arguments: ast.expr) -> list[ast.stmt]:
        at = Build(call.site.anchor)
        return [*self.passing(call), *self._outcome(call, member, arguments, at)]

    def _outcome(self, call: TailCall, member: ast.expr, arguments: ast.expr, at: Build) -> list[ast.stmt]:
        if call.keeps_blocks:
            self.helpers.add(".Push")
            push = at.call(at.load(".Push"), at.tuple([member, arguments]))
            if self.kind == "coroutine":
                return [at.return_(at.await_(push))]
            result = ast.Yield(value=push, **at.place)
            if call.site.form == "return":
                return [at.return_(result)]
            return [at.expr(result), at.return_(None)]
        self.helpers.add(".Next")
        drops = at.constant(call.site.form != "return")
        pending = at.call(at.load(".Next"), at.tuple([member, arguments, drops]))
        if self.kind != "async generator":
            return [at.return_(pending)]
        return [at.expr(at.call(at.attribute(at.load(".out"), "append"), pending)), at.return_(None)]

    # -------------------------------------------- async generators: a cancelled transition

    def handler_head(self) -> list[ast.stmt]:
        """Cancel a pending transition: an exit raised, and this handler runs instead."""
        return self._forget()

    def after_with(self, block: ast.stmt) -> list[ast.stmt]:
        """Cancel a pending transition: an inner exit raised, and this one suppressed the
        exception.
        """
        del block
        return self._forget()

    def _forget(self) -> list[ast.stmt]:
        if self.kind != "async generator":
            return []
        return [NOWHERE.expr(NOWHERE.call(NOWHERE.attribute(NOWHERE.load(".out"), "clear")))]


def _item(at: Build, name: str, index: int) -> ast.expr:
    return ast.Subscript(value=at.load(name), slice=at.constant(index), ctx=ast.Load(), **at.place)
