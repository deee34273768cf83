"""The two decorators. Nothing of the compiler is imported before a function has to be compiled."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # as in `typing`, whose import alone would double the time of `import loom`
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, Protocol, TypeVar, overload

    from loom._options import Blocks, Mode

    F = TypeVar("F", bound=Callable[..., Any])

    class Decorator(Protocol):
        """What `tailrec` and `tailstream` are to a type checker: the decorated function keeps its
        type.
        """

        @overload
        def __call__(
            self,
            fn: F,
            /,
            *,
            blocks: Blocks | None = None,
            group: str | None = None,
            yield_every: int | None = None,
            allow_none: bool = False,
            allow_recursion: bool = False,
        ) -> F: ...

        @overload
        def __call__(
            self,
            *,
            blocks: Blocks | None = None,
            group: str | None = None,
            yield_every: int | None = None,
            allow_none: bool = False,
            allow_recursion: bool = False,
        ) -> Callable[[F], F]: ...


def _decorator(mode: Mode, doc: str) -> Decorator:
    """Build the public decorator named `mode`."""

    def decorator(
        fn: Callable[..., Any] | None = None,
        /,
        *,
        blocks: Blocks | None = None,
        group: str | None = None,
        yield_every: int | None = None,
        allow_none: bool = False,
        allow_recursion: bool = False,
    ) -> Any:
        given = (mode, blocks, group, yield_every, allow_none, allow_recursion)
        if fn is None:
            return lambda function: _compiled(function, given, sys._getframe(1))  # noqa: SLF001
        return _compiled(fn, given, sys._getframe(1))  # noqa: SLF001 - its line identifies our decorator

    decorator.__name__ = decorator.__qualname__ = mode
    decorator.__doc__ = doc
    return decorator


def _compiled(fn: Any, given: tuple[Any, ...], caller: FrameType) -> Any:
    from loom._link import decorate

    return decorate(fn, given, caller)


tailrec = _decorator(
    "tailrec",
    """Run the tail calls of a function as a loop, in constant stack, with the meaning of the recursion.

    Coroutines (`return await f(...)`), functions (`return f(...)`), generators (`yield from f(...)`)
    and async generators (`async for x in f(...): yield x`) are compiled, methods too. The result
    has the name, signature and lines of the original.

    Args:
        fn: The function, when used without parentheses.
        blocks: What a tail call inside `try` or `with` means. `"step"`: the block ends before the
            next step. `"exact"`: it stays open until the deeper steps have ended, at the price of
            memory. `"reject"`: an error. Default: as `"step"`, with a `BlockScopeWarning`.
        group: A name. Functions of one group may tail-call each other in constant stack.
        yield_every: Give the event loop a turn after this many steps (coroutines and async
            generators).
        allow_none: Accept a function that makes no tail call to itself.
        allow_recursion: Accept calls to itself outside tail position; they stay recursion.

    Raises:
        TailCallError: The function cannot be compiled; the message has the place, the reason and the fix.
    """,
)
tailstream = _decorator(
    "tailstream",
    """Run the tail calls of a generator or async generator as a loop.

    The same as `tailrec`, with the same arguments, but it refuses anything that is not a generator.
    A tail call is `async for x in f(...): yield x` (or `yield from f(...)` in a generator) as the
    last thing that a step does.

    Raises:
        TailCallError: The function cannot be compiled.
    """,
)
