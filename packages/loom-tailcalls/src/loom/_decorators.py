"""The two decorators. Nothing of the compiler is imported before a function has to be compiled."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # as in `typing`, whose import alone would double the time of `import loom`
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, TypeVar, overload

    from loom._options import Blocks

    F = TypeVar("F", bound=Callable[..., Any])
else:

    def overload(function):
        """Stand for `typing.overload`: the definition that counts follows."""
        return function


@overload
def tailrec(
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
def tailrec(  # noqa: F811 - ruff does not know our `overload`
    *,
    blocks: Blocks | None = None,
    group: str | None = None,
    yield_every: int | None = None,
    allow_none: bool = False,
    allow_recursion: bool = False,
) -> Callable[[F], F]: ...


def tailrec(  # noqa: F811 - as above
    fn: Callable[..., Any] | None = None,
    /,
    *,
    blocks: Blocks | None = None,
    group: str | None = None,
    yield_every: int | None = None,
    allow_none: bool = False,
    allow_recursion: bool = False,
) -> Any:
    """Run the tail calls of a function as a loop, in constant stack, with the meaning of the recursion.

    Coroutines (`return await f(...)`), functions (`return f(...)`), generators (`yield from f(...)`) and async
    generators (`async for x in f(...): yield x`) are compiled, methods too. The result has the name, signature and
    lines of the original.

    Args:
        fn: The function, when used without parentheses.
        blocks: What a tail call inside `try` or `with` means. `"step"`: the block ends before the next step.
            `"exact"`: it stays open until the deeper steps are done, at the price of memory. `"reject"`: an error. Not
            said: as `"step"`, with a `BlockScopeWarning`.
        group: A name. Functions of one group may tail-call each other in constant stack.
        yield_every: Give the event loop a turn after this many steps (coroutines and async generators).
        allow_none: Accept a function that makes no tail call to itself.
        allow_recursion: Accept calls to itself outside tail position; they stay recursion.

    Raises:
        TailCallError: The function cannot be compiled; the message has the place, the reason and the fix.
    """
    said = ("tailrec", blocks, group, yield_every, allow_none, allow_recursion)
    if fn is None:
        return lambda function: _compiled(function, said, sys._getframe(1))  # noqa: SLF001
    return _compiled(fn, said, sys._getframe(1))  # noqa: SLF001 - the line tells decorators apart


@overload
def tailstream(
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
def tailstream(  # noqa: F811 - ruff does not know our `overload`
    *,
    blocks: Blocks | None = None,
    group: str | None = None,
    yield_every: int | None = None,
    allow_none: bool = False,
    allow_recursion: bool = False,
) -> Callable[[F], F]: ...


def tailstream(  # noqa: F811 - as above
    fn: Callable[..., Any] | None = None,
    /,
    *,
    blocks: Blocks | None = None,
    group: str | None = None,
    yield_every: int | None = None,
    allow_none: bool = False,
    allow_recursion: bool = False,
) -> Any:
    """Run the tail calls of a generator or async generator as a loop.

    The same as `tailrec`, and it refuses anything that is not a generator. The last thing a step does is
    `async for x in f(...): yield x` (or `yield from f(...)` in a generator).

    Args:
        fn: The function, when used without parentheses.
        blocks: See `tailrec`.
        group: See `tailrec`.
        yield_every: See `tailrec`.
        allow_none: See `tailrec`.
        allow_recursion: See `tailrec`.

    Raises:
        TailCallError: The function cannot be compiled.
    """
    said = ("tailstream", blocks, group, yield_every, allow_none, allow_recursion)
    if fn is None:
        return lambda function: _compiled(function, said, sys._getframe(1))  # noqa: SLF001
    return _compiled(fn, said, sys._getframe(1))  # noqa: SLF001 - the line tells decorators apart


def _compiled(fn: Any, said: tuple[Any, ...], caller: FrameType) -> Any:
    from loom._plan import decorate

    return decorate(fn, said, caller)
