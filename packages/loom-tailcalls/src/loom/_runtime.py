"""What compiled functions use while they run: pending transitions, and the stack of waiting
frames.
"""

from __future__ import annotations

from types import coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator


class Next(tuple[Any, ...]):
    """A pending transition: (member, arguments by position, whether the result is dropped)."""

    __slots__ = ()


class Push(tuple[Any, ...]):
    """A tail call whose frame must stay, because a block is open in it: (member, arguments by
    position).
    """

    __slots__ = ()

    def __await__(self) -> Generator[Push, Any, Any]:
        """Return the result that the driver sends."""
        return (yield self)


@coroutine
def pause() -> Generator[None, None, None]:
    """Suspend once, so that the event loop can run other tasks."""
    yield


def run_frames(frame: Generator[Any, Any, Any], *, is_generator: bool) -> Generator[Any, Any, Any]:
    """Run steps whose open blocks are kept: a stack of suspended frames on the heap.

    A frame requests a deeper step by yielding a `Push`, is suspended, and receives the result or
    exception of the step. All other values are yielded to the caller, and what the caller sends or
    throws goes to the innermost frame, as with `await` and `yield from`.

    Args:
        frame: The first step: a coroutine, or the generator that stands for a function.
        is_generator: Whether the user's function is a generator, so that a StopIteration that
            leaves it is an error.
    """
    waiting: list[tuple[Generator[Any, Any, Any], bool]] = []
    value: Any = None
    error: BaseException | None = None
    drops = False
    while True:
        try:
            if error is None:
                out = frame.send(value)
            else:
                try:
                    out = frame.throw(error)
                finally:
                    error = None  # an exception must not be kept alive by a frame in its own traceback
        except StopIteration as stop:
            result = stop.value
        except BaseException as raised:  # noqa: BLE001 - it is thrown into the waiting frame
            error = raised if is_generator else _unwrapped(raised)
            if not waiting:
                break
            frame, drops = waiting.pop()
            continue
        else:
            if type(out) is Push:
                waiting.append((frame, drops))
                frame, drops, value = out[0].step(*out[1]), False, None
                continue
            try:
                value = yield out
            except BaseException as raised:  # noqa: BLE001 - it is thrown into the innermost frame
                error = raised
            continue
        if type(result) is Next:
            drops = drops or result[2]
            frame, value = result[0].step(*result[1]), None
            continue
        if drops:
            result = None
        if not waiting:
            return result
        (frame, drops), value = waiting.pop(), result
    try:
        raise error
    finally:
        del error  # no cycle through this frame


await_frames = coroutine(run_frames)


def call_frames(frame: Generator[Any, Any, Any]) -> object:
    """Run the steps of a function whose open blocks are kept."""
    running = run_frames(frame, is_generator=False)
    try:
        running.send(None)
    except RuntimeError as raised:
        error = _unwrapped(raised)
    except StopIteration as stop:
        return stop.value
    else:
        raise AssertionError(running)
    try:
        raise error
    finally:
        del error


def _unwrapped(raised: BaseException) -> BaseException:
    """Undo PEP 479 for a function that runs as a generator: its StopIteration is an exception like
    any other.
    """
    cause = raised.__cause__
    if (
        type(raised) is RuntimeError
        and isinstance(cause, StopIteration)
        and raised.args == ("generator raised StopIteration",)
    ):
        return cause
    return raised
