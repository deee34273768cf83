"""Functions that are managed tool calls inside a step, and plain functions elsewhere."""

from __future__ import annotations

import inspect
from functools import update_wrapper
from typing import TYPE_CHECKING, Final, Generic, ParamSpec, TypeVar, overload

from loom_runner._program.codec import hints_of
from loom_runner._program.context import running_context
from loom_runner._program.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from loom_runner._model.retry import RetryPolicy
    from loom_runner._model.seconds import Seconds
    from loom_runner._program.tools import OnDoubt, Reconcile

__all__ = ["ManagedFunction", "tool"]

_SURELY_STORED: Final = (inspect.Parameter.empty, None, str, int, float, bool, bytes, dict, list)
"""Types that need no check, so that a module with tools loads without pydantic."""

P = ParamSpec("P")
R = TypeVar("R")


class ManagedFunction(Generic[P, R]):
    """A function that is a managed tool call inside a step, and a plain function elsewhere (see
    `tool`).
    """

    def __init__(self, tool: Tool) -> None:
        self.tool = tool
        self.is_async = inspect.iscoroutinefunction(tool.function)
        update_wrapper(self, tool.function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        context = running_context()
        if context is None:
            result: R = self.tool.function(*args, **kwargs)
            return result
        if not self.is_async:
            context.require_thread(self.tool)
        bound = self.tool.signature.bind(*args, **kwargs)
        call: Awaitable[R] = context.call_managed(self.tool, bound.arguments, args, kwargs)
        if self.is_async:
            return call  # type: ignore[return-value]  # R is the coroutine type here, as it is for the plain call
        return context.wait_from_thread(call)


@overload
def tool(function: Callable[P, R], /) -> ManagedFunction[P, R]: ...
@overload
def tool(
    *,
    name: str | None = None,
    idempotent: bool = False,
    read_only: bool = False,
    needs_approval: bool = False,
    on_doubt: OnDoubt | None = None,
    reconcile: Reconcile | None = None,
    timeout_s: Seconds | None = None,
    retry: RetryPolicy | None = None,
) -> Callable[[Callable[P, R]], ManagedFunction[P, R]]: ...
def tool(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    idempotent: bool = False,
    read_only: bool = False,
    needs_approval: bool = False,
    on_doubt: OnDoubt | None = None,
    reconcile: Reconcile | None = None,
    timeout_s: Seconds | None = None,
    retry: RetryPolicy | None = None,
) -> ManagedFunction[P, R] | Callable[[Callable[P, R]], ManagedFunction[P, R]]:
    """Turn a function into a tool that needs no registry, for loops written with `@tailrec`.

    Outside a run, it is the plain function. Inside a step, the same line is a managed call:
    recorded, and not repeated once its result is recorded. The arguments are those of `Tool`.
    """

    def wrap(function: Callable[P, R]) -> ManagedFunction[P, R]:
        hint = hints_of(function).get("return", inspect.Parameter.empty)
        declared = Tool(
            name=name or str(getattr(function, "__name__", "")),
            function=function,
            description=inspect.getdoc(function) or "",
            idempotent=idempotent,
            read_only=read_only,
            needs_approval=needs_approval,
            on_doubt=on_doubt,
            reconcile=reconcile,
            timeout_s=timeout_s,
            retry=retry,
            result_hint=hint,
        )
        if hint not in _SURELY_STORED:
            _ = declared.result_codec  # a type that can never be stored is refused here
        return ManagedFunction(declared)

    return wrap if function is None else wrap(function)
