"""The loop form: all steps in one frame.

Theory of operation
-------------------

::

    async def f(n, acc=0):              async def f(n, acc):
        if n == 0:                          .this = .self                # a fast local for the guard
            return acc                      while True:
        return await f(n - 1, acc + n)          if n == 0:
                                                    return acc
                                                if f is .this:           # the name is looked up at every step
                                                    n, acc = n - 1, acc + n
                                                    continue
                                                return await f(n - 1, acc + n)
                                                break                    # the end of the body

This equals the recursion if four conditions hold. Each is handled in one place below.

* **The callee is this function.** The guard tests it at every step. A method is evaluated once,
  before its arguments.
* **Arguments are evaluated in Python's order, then bound at once.** One assignment does both. Where
  the order is not observable, no temporary is used (`_rebind`).
* **The next step begins with fresh locals.** Names that could be read before they are bound are
  cleared at the head (`_head`). If a closure keeps a variable that changes, the step form is used
  instead (`_step`).
* **Loops of the user are left.** `.again` is set, `break` leaves one loop, and a test after each
  loop continues from there (`after_loop`). `break` also skips the `else` of the loop, as `return`
  does.

Tail calls inside `try` or `with` use the step form, where a block is left by an ordinary `return`.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from loom._codegen import bare, definition_like
from loom._frame import frame_nodes
from loom._lowering import Lowered, Lowering, first_line_of, split_docstring
from loom._nodes import NOWHERE, Build, call_with
from loom._signature import Bound, Default
from loom._verdict import is_receiver

if TYPE_CHECKING:
    from loom._verdict import Analysis, TailCall

SWAPPED = 3  # up to here CPython assigns in parallel on the stack, without building a tuple


def lower_to_loop(analysis: Analysis, *, accepts_original: bool) -> Lowered:
    """Rewrite a definition to the loop form.

    Args:
        analysis: The analysis; its form is `loop`.
        accepts_original: Whether the undecorated function also counts as this function.
    """
    return _Loop(analysis, accepts_original=accepts_original).lower()


class _Loop(Lowering):
    def __init__(self, analysis: Analysis, *, accepts_original: bool) -> None:
        super().__init__(analysis)
        self._accepts_original = accepts_original
        self._live = analysis.defaults_are_live
        self._defaults: dict[str, None] = {}
        self._uses_again = False
        self._uses_receiver = False
        self._unbinds = analysis.names.deleted
        values = (node.value for node in frame_nodes(analysis.definition.node) if isinstance(node, ast.Return))
        self._drops = self._drops and any(value is not None for value in values)

    def lower(self) -> Lowered:
        node = self.analysis.definition.node
        docstring, rest = split_docstring(node.body)
        body = self.statements(rest, 0)
        first = first_line_of(rest)
        loop = NOWHERE.forever([*self._head(first), *body, NOWHERE.break_()])
        made = definition_like(
            node,
            bare(node).args,
            [*docstring, *self._entry(first), loop],
            is_async=isinstance(node, ast.AsyncFunctionDef),
        )
        return Lowered(made, tuple(sorted(self.helpers)), tuple(self._defaults))

    # ------------------------------------------------------------ entry and head

    def _entry(self, at: Build) -> list[ast.stmt]:
        """Build what runs once per call of the function."""
        made: list[ast.stmt] = []
        if self._defaults or (".bind" in self.helpers and not self._live):
            self.helpers.add(".enter")
            call = at.call(at.load(".enter"))
            slots = [".this", *(_slot(name) for name in self._defaults)]
            made.append(at.set_all(slots, call) if self._defaults else at.set(".this", call))
        else:
            self.helpers.add(".self")
            made.append(at.set(".this", at.load(".self")))
        first = self.parameters.first
        if self._uses_receiver and first is not None:
            self.helpers.add(".Method")
            method = at.call(at.load(".Method"), at.load(".this"), at.load(first))
            is_none = at.is_(at.load(first), at.constant(None))
            made.append(at.if_(is_none, [at.set(".this_method", at.constant(None))], [at.set(".this_method", method)]))
        if self._uses_again:
            made.append(at.set(".again", at.constant(False)))
        if self._drops:
            made.append(at.set(".drop", at.constant(False)))
        if self.analysis.options.yield_every is not None:
            made.append(at.set(".left", at.constant(self.analysis.options.yield_every + 1)))
        return made

    def _head(self, at: Build) -> list[ast.stmt]:
        """Build what runs before each step: let other tasks run, and clear the locals of the last
        step.
        """
        made: list[ast.stmt] = []
        every = self.analysis.options.yield_every
        if every is not None:
            self.helpers.add(".pause")
            left = ast.BinOp(left=at.load(".left"), op=ast.Sub(), right=at.constant(1), **at.place)
            pause = at.expr(at.await_(at.call(at.load(".pause"))))  # has a line: a task may be cancelled here
            made.append(at.set(".left", left))
            made.append(at.if_(at.not_(at.load(".left")), [at.set(".left", at.constant(every)), pause]))
        for name in self.analysis.maybe_unbound:
            made += [_set_none(name), NOWHERE.delete(name)]
        return made

    # ------------------------------------------------------------ the transition

    def jump(self, call: TailCall, depth: int) -> tuple[list[ast.stmt], ast.Call]:
        """Test the callee, rebind, and begin the next step; the original call follows for any other
        callee.
        """
        site = call.site
        callee = site.call.func
        at = Build(callee)
        if isinstance(callee, ast.Name):
            (route,) = call.routes
            return [
                at.if_(self._is_this_function(at, callee), self._begin_next(call, route.bound, None, depth))
            ], site.call
        made: list[ast.stmt] = [at.set(".callee", callee)]
        for route in call.routes:
            is_method = route.access == "method"
            test, receiver = (
                self._method_test(at, callee) if is_method else (self._is_this_function(at, at.load(".callee")), None)
            )
            made.append(at.if_(test, self._begin_next(call, route.bound, receiver, depth)))
        return made, call_with(site.call, at.load(".callee"))

    def _method_test(self, at: Build, callee: ast.expr) -> tuple[ast.expr, ast.expr]:
        """Build the test whether `.callee` is this function as a method, and the receiver of the
        next step.
        """
        self.helpers |= {".type", ".Method"}
        is_method = at.is_(at.call(at.load(".type"), at.load(".callee")), at.load(".Method"))
        first = self.parameters.first
        if first is not None and self.analysis.receiver_is_stable and is_receiver(callee, first):
            self._uses_receiver = True  # one comparison of two methods: same function, same receiver
            return at.all(is_method, at.equal(at.load(".callee"), at.load(".this_method"))), at.load(first)
        same = self._is_this_function(at, at.attribute(at.load(".callee"), "__func__"))
        return at.all(is_method, same), at.attribute(at.load(".callee"), "__self__")

    def after_loop(self, loop: ast.stmt, depth: int) -> list[ast.stmt]:
        """Leave the next outer loop, or begin the next step if this was the outermost one."""
        del loop
        if depth:
            return [NOWHERE.if_(NOWHERE.load(".again"), [NOWHERE.break_()])]
        reset = NOWHERE.set(".again", NOWHERE.constant(False))
        return [NOWHERE.if_(NOWHERE.load(".again"), [reset, NOWHERE.continue_()])]

    def returned(self, value: ast.expr | None, anchor: ast.stmt) -> list[ast.stmt]:
        """Return `value`, or evaluate it and return None once a `yield from f()` has dropped the
        result.
        """
        at = Build(anchor)
        if not self._drops or value is None:
            return [at.return_(value)]
        pair = at.tuple([value, at.constant(None)])
        return [at.return_(ast.Subscript(value=pair, slice=at.load(".drop"), ctx=ast.Load(), **at.place))]

    def _is_this_function(self, at: Build, callee: ast.expr) -> ast.expr:
        tests: list[ast.expr] = [at.is_(callee, at.load(".this"))]
        if self._accepts_original:
            self.helpers.add(".orig")
            tests.append(at.is_(callee, at.load(".orig")))
        return at.any(*tests)

    def _begin_next(self, call: TailCall, bound: Bound | None, receiver: ast.expr | None, depth: int) -> list[ast.stmt]:
        at = Build(call.site.anchor)
        made = [*self.passing(call), *self._rebind(call, bound, receiver)]
        if self._drops and call.site.form != "return":
            made.append(at.set(".drop", at.constant(True)))
        if not depth:
            return [*made, at.continue_()]
        self._uses_again = True
        return [*made, at.set(".again", at.constant(True)), at.break_()]

    # ------------------------------------------------------------ binding

    def _rebind(self, call: TailCall, bound: Bound | None, receiver: ast.expr | None) -> list[ast.stmt]:
        at = Build(call.site.anchor)
        omits = bound is not None and any(isinstance(value, Default) for _, value in bound.values)
        if bound is None or (omits and self._live):
            binder = self.binder(Build(call.site.call.func))
            if not self.parameters.all:
                return [at.expr(call_with(call.site.call, binder, receiver))]
            return [at.set_all(self.parameters.all, call_with(call.site.call, binder, receiver))]
        first = self.parameters.first
        pairs: list[tuple[str, ast.expr]] = []
        for name, value in bound.values:
            if isinstance(value, Default):
                self._defaults[name] = None
                pairs.append((name, Build(call.site.call).load(_slot(name))))
            else:
                pairs.append((name, receiver if receiver is not None and name == first else value))
        return _assign(self._without_unchanged(pairs, call), at)

    def _without_unchanged(self, pairs: list[tuple[str, ast.expr]], call: TailCall) -> list[tuple[str, ast.expr]]:
        """Omit `x = x` where it has no effect: it cannot raise, and is not the only code on its
        line.
        """
        if any(isinstance(node, ast.NamedExpr) for _, value in pairs for node in ast.walk(value)):
            return pairs
        idle = {
            name
            for name, value in pairs
            if isinstance(value, ast.Name) and value.id == name and name not in self._unbinds
        }
        lines = {call.site.anchor.lineno, call.site.call.func.lineno}
        lines |= {
            node.lineno
            for name, value in pairs
            if name not in idle
            for node in ast.walk(value)
            if isinstance(node, ast.expr)
        }
        return [(name, value) for name, value in pairs if name not in idle or value.lineno not in lines]


def _assign(pairs: list[tuple[str, ast.expr]], at: Build) -> list[ast.stmt]:
    """Evaluate the values in order and assign them as if simultaneously."""
    if not pairs:
        return []
    if len(pairs) == 1:
        return [at.set(*pairs[0])]
    if len(pairs) <= SWAPPED or any(isinstance(node, ast.NamedExpr) for _, value in pairs for node in ast.walk(value)):
        return [at.set_all([name for name, _ in pairs], at.tuple(value for _, value in pairs))]
    made: list[ast.stmt] = []
    late: list[ast.stmt] = []
    for position, (name, value) in enumerate(pairs):
        if any(_mentions(other, name) for _, other in pairs[position + 1 :]):
            made.append(at.set(f".next_{name}", value))
            late.append(at.set(name, at.load(f".next_{name}")))
        else:
            made.append(at.set(name, value))  # that it changes before the others is not observable
    return made + late


def _mentions(value: ast.expr, name: str) -> bool:
    return any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(value))


def _slot(name: str) -> str:
    return f".default_{name}"


def _set_none(name: str) -> ast.stmt:
    return NOWHERE.set(name, NOWHERE.constant(None))
