"""The step-scoped meaning of a tail call, as a second reference that shares no code with the
compiler.

A decorated function is rewritten so that a tail call *returns a description of the next call*
instead of making it:

    return await f(n - 1)    becomes    return await _next_async(here, f, n - 1)

Called with `f` itself (or a member of its group), `_next_async` binds the arguments and resolves to
a `Next` without running anything; called with any other function it is the ordinary call. Leaving
the function by `return` leaves every block of the step, in Python's own order, with the step's own
parameters. Then a small driver runs the described call. That is the definition of
``blocks="step"``; for a program without blocks it is plain recursion with a flat stack.

Arguments are bound by Python itself: calling a coroutine function or a generator function binds its
arguments and runs nothing. A plain function is rewritten to a coroutine function that never
suspends, to have the same.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import types
from typing import TYPE_CHECKING, Any

from loom_proof.observe import Decorators

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator

_NAMES = {"tailrec", "tailstream"}


@dataclasses.dataclass(slots=True)
class Next:
    """A bound call that has not begun: a coroutine or a generator that has not started."""

    bound: Any
    drops_value: bool = False

    def __del__(self) -> None:
        if inspect.iscoroutine(
            self.bound
        ):  # a block took the call back: nobody will await it, and Python need not warn
            self.bound.close()


def _bind(here: int, callee: Any, args: Any, kwargs: Any) -> Next | None:
    owner = callee.__func__ if isinstance(callee, types.MethodType) else callee
    step = getattr(owner, "__step__", None)
    if step is None:
        return None
    same = step.__code__.co_firstlineno == here
    if not same and owner.__group__ is None:
        return None
    if not same and here not in _GROUPS.get(owner.__group__, ()):
        return None
    return Next(step(callee.__self__, *args, **kwargs) if owner is not callee else step(*args, **kwargs))


_GROUPS: dict[str, set[int]] = {}


def _next_async(here: int, callee: Any, /, *args: Any, **kwargs: Any) -> Any:
    described = _bind(here, callee, args, kwargs)
    return callee(*args, **kwargs) if described is None else _resolved(described)


async def _resolved(value: Next) -> Next:
    return value


def _next_plain(here: int, callee: Any, /, *args: Any, **kwargs: Any) -> Any:
    described = _bind(here, callee, args, kwargs)
    return callee(*args, **kwargs) if described is None else described


def _next_generator(here: int, callee: Any, /, *args: Any, **kwargs: Any) -> Any:
    described = _bind(here, callee, args, kwargs)
    return callee(*args, **kwargs) if described is None else _returned(described)


def _returned(value: Next) -> Generator[Any, Any, Next]:
    return value
    yield


def _next_stream(here: int, callee: Any, /, *args: Any, **kwargs: Any) -> Any:
    described = _bind(here, callee, args, kwargs)
    return callee(*args, **kwargs) if described is None else _yielded(described)


async def _yielded(value: Next) -> AsyncIterator[Next]:
    yield value


def _dropped(value: Any) -> Any:
    if not isinstance(value, Next):
        return None
    value.drops_value = True
    return value


def _mark_plain(fn: Any) -> Any:
    fn.__was_plain__ = True
    return fn


def _finish(coroutine: Any) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("a rewritten plain function suspended")


def decorators() -> Decorators:
    """Return decorators that drive rewritten functions (see `rewrite`)."""
    return Decorators(_driver, _driver, compile=rewrite, support=SUPPORT)


def _driver(step: Callable[..., Any] | None = None, /, *, group: str | None = None, **_options: Any) -> Any:
    if step is None:
        return functools.partial(_driver, group=group)
    driver: Any
    if inspect.isasyncgenfunction(step):

        @functools.wraps(step)
        async def driver(*args: Any, **kwargs: Any) -> Any:
            running = step(*args, **kwargs)
            while running is not None:
                after = None
                async for item in running:
                    if isinstance(item, Next):
                        after = item.bound
                    else:
                        yield item
                running = after

    elif inspect.isgeneratorfunction(step):

        @functools.wraps(step)
        def driver(*args: Any, **kwargs: Any) -> Any:
            drops = False
            out = yield from step(*args, **kwargs)
            while isinstance(out, Next):
                drops = drops or out.drops_value
                out = yield from out.bound
            return None if drops else out

    elif getattr(step, "__was_plain__", False):

        @functools.wraps(step)
        def driver(*args: Any, **kwargs: Any) -> Any:
            out = _finish(step(*args, **kwargs))
            while isinstance(out, Next):
                out = _finish(out.bound)
            return out

    else:

        @functools.wraps(step)
        async def driver(*args: Any, **kwargs: Any) -> Any:
            out = await step(*args, **kwargs)
            while isinstance(out, Next):
                out = await out.bound
            return out

    driver.__step__ = step
    driver.__group__ = group
    if group is not None:
        _GROUPS.setdefault(group, set()).add(step.__code__.co_firstlineno)
    return driver


SUPPORT: dict[str, Any] = {
    made.__name__: made for made in (_next_async, _next_plain, _next_generator, _next_stream, _dropped, _mark_plain)
}


def rewrite(source: str, filename: str) -> types.CodeType:
    """Compile a program with its decorated functions in step-by-step form. It needs the names of
    `SUPPORT`.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(block, list):
                block[:] = [_function(child) for child in block]
    return compile(ast.fix_missing_locations(tree), filename, "exec", dont_inherit=True)


def _is_decorated(node: ast.AST) -> bool:
    for decorator in getattr(node, "decorator_list", ()):
        name = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(name, ast.Name) and name.id in _NAMES:
            return True
    return False


def _function(node: Any) -> Any:
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or not _is_decorated(node):
        return node
    is_async = isinstance(node, ast.AsyncFunctionDef)
    yields = any(isinstance(inner, (ast.Yield, ast.YieldFrom)) for inner in _own(node.body))
    kind = ("stream" if is_async else "generator") if yields else ("async" if is_async else "plain")
    node.body = _Steps(kind, node.decorator_list[0].lineno).block(node.body, last=True)
    if kind == "plain":
        fields = {name: getattr(node, name) for name in node._fields}
        fields["decorator_list"] = [*node.decorator_list, ast.Name("_mark_plain", ast.Load())]
        return ast.copy_location(ast.AsyncFunctionDef(**fields), node)
    return node


def _own(body: list[Any]) -> list[ast.AST]:
    """All nodes of a body that belong to the function itself, not to a nested one."""
    found: list[ast.AST] = []
    stack: list[ast.AST] = list(body)
    while stack:
        node = stack.pop()
        found.append(node)
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            stack.extend(ast.iter_child_nodes(node))
    return found


class _Steps:
    """Rewrite the tail calls of one function."""

    def __init__(self, kind: str, first_line: int) -> None:
        self.kind = kind
        self.first_line = first_line

    def block(self, body: list[Any], *, last: bool) -> list[Any]:
        out: list[Any] = []
        for index, statement in enumerate(body):
            after = body[index + 1 :]
            returns = bool(after) and isinstance(after[0], ast.Return) and after[0].value is None
            out += self.statement(statement, last=(last and not after) or returns)
        return out

    def statement(self, node: Any, *, last: bool) -> list[Any]:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                return [node]
            case ast.Return(value=ast.expr() as value):
                node.value = self.tail(value)
                return [node]
            case ast.Expr(value=ast.YieldFrom(value=ast.Call())) if last and self.kind == "generator":
                dropped = ast.Call(ast.Name("_dropped", ast.Load()), [self.tail(node.value)], [])
                return [ast.copy_location(ast.Return(dropped), node)]
            case ast.AsyncFor(
                target=ast.Name(id=name),
                iter=ast.Call(),
                body=[ast.Expr(value=ast.Yield(value=ast.Name(id=same)))],
                orelse=[],
            ) if last and name == same and self.kind == "stream":
                node.iter = self.call(node.iter)
                return [node]
        is_loop = isinstance(node, (ast.For, ast.AsyncFor, ast.While))
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if block:
                setattr(node, field, self.block(block, last=last and not (is_loop and field == "body")))
        for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
            part.body = self.block(part.body, last=last)
        return [node]

    def tail(self, value: Any) -> Any:
        match value:
            case ast.IfExp():
                value.body, value.orelse = self.tail(value.body), self.tail(value.orelse)
            case ast.BoolOp():
                value.values[-1] = self.tail(value.values[-1])
            case ast.Await(value=ast.Call()) if self.kind == "async":
                value.value = self.call(value.value)
            case ast.YieldFrom(value=ast.Call()) if self.kind == "generator":
                value.value = self.call(value.value)
            case ast.Call() if self.kind == "plain":
                return self.call(value)
        return value

    def call(self, value: Any) -> Any:
        """Turn ``callee(arguments)`` into ``_next_KIND(line, callee, arguments)``."""
        # super() without arguments looks at its own call, so it may stay where it is: it is the
        # receiver, not the callee.
        name = ast.Name(f"_next_{self.kind}", ast.Load())
        made = ast.Call(name, [ast.Constant(self.first_line), value.func, *value.args], value.keywords)
        return ast.copy_location(made, value)
