"""What compiled functions use while they run. Small, and imported before anything is compiled."""

from __future__ import annotations

from types import FunctionType, MethodType, coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from loom._plan import Plan

MEMBER = ".member"


class Next(tuple[Any, ...]):
    """A pending transition: (member, arguments by position, whether the result is dropped)."""

    __slots__ = ()


class Push(tuple[Any, ...]):
    """A tail call whose frame has to stay, because a block is open in it: (member, arguments by position)."""

    __slots__ = ()

    def __await__(self) -> Generator[Push, Any, Any]:
        """Ask the driver for the result."""
        return (yield self)


class Member:
    """One compiled function at run time: the public function, and its step and binder.

    The step takes every parameter by position, in the order of `co_varnames`; the binder takes the arguments of a call
    and returns them in that order.
    """

    __slots__ = ("_bind", "_step", "plan", "public")

    def __init__(self, plan: Plan, public: FunctionType, bind: FunctionType) -> None:
        """Start without a step function; it is built when it is first used."""
        self.plan = plan
        self.public = public
        self._bind = bind
        self._step: Callable[..., Any] | None = None

    @property
    def step(self) -> Callable[..., Any]:
        """Return the function that runs one transition and returns its value or a `Next`."""
        if self._step is None:
            self._step = self.plan.link_step(self)
        return self._step

    def binder(self) -> Callable[..., tuple[Any, ...]]:
        """Return the binder, with the defaults that the public function has now."""
        bind, public = self._bind, self.public
        if bind.__defaults__ is not public.__defaults__:  # assigning would slow its calls down
            bind.__defaults__ = public.__defaults__
        if bind.__kwdefaults__ is not public.__kwdefaults__:
            bind.__kwdefaults__ = public.__kwdefaults__
        return bind


def member_of(function: object) -> Member | None:
    """Return the member behind a public function, or None if we did not compile it."""
    if type(function) is not FunctionType or MEMBER not in function.__code__.co_freevars:
        return None
    cells = function.__closure__ or ()
    member = cells[function.__code__.co_freevars.index(MEMBER)].cell_contents
    return member if isinstance(member, Member) and member.public is function else None


def lookup_in_group(member: Member) -> Callable[[object], tuple[Member, Callable[..., tuple[Any, ...]]] | None]:
    """Return the guard of a group: it maps a callee to its member and binder, or to None if it is a stranger."""
    group, kind = member.plan.options.group, member.plan.analysis.kind

    def lookup(callee: object) -> tuple[Member, Callable[..., tuple[Any, ...]]] | None:
        function = callee.__func__ if type(callee) is MethodType else callee
        found = member_of(function)
        if found is None or found.plan.options.group != group or found.plan.analysis.kind != kind:
            return None
        if type(callee) is MethodType:
            return found, MethodType(found.binder(), callee.__self__)
        return found, found.binder()

    return lookup


def changed() -> None:
    """Stand for the function when its defaults were changed in shape: no callee is this, so every call is real."""


def entry(member: Member, wanted: tuple[int | str, ...]) -> Callable[[], FunctionType | tuple[object, ...]]:
    """Return what a compiled function calls at entry: the function for the guard, and the defaults it may need.

    So assigning to `__defaults__` works from the next call on, as it should.

    Args:
        member: The compiled function.
        wanted: For each default its index from the end of `__defaults__`, or its key in `__kwdefaults__`.
    """

    def enter() -> FunctionType | tuple[object, ...]:
        public = member.public
        member.binder()
        if not wanted:
            return public
        positional, keywords = public.__defaults__ or (), public.__kwdefaults__ or {}
        try:
            return public, *(positional[key] if isinstance(key, int) else keywords[key] for key in wanted)
        except LookupError:
            return changed, *(None for _ in wanted)

    return enter


@coroutine
def pause() -> Generator[None, None, None]:
    """Give the event loop one turn."""
    yield


def run_frames(frame: Generator[Any, Any, Any], *, is_generator: bool) -> Generator[Any, Any, Any]:
    """Run steps whose open blocks are kept: a stack of suspended frames on the heap.

    A frame asks for a deeper step by yielding a `Push`, is suspended, and gets its result or exception. Whatever else a
    frame yields goes out, and what comes in goes to the innermost frame, as with `await` and `yield from`.

    Args:
        frame: The first step: a coroutine, or the generator that stands for a function.
        is_generator: Whether the user's function is a generator, so that a leaving StopIteration is an error.
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
        except BaseException as raised:  # noqa: BLE001 - it is handed to the frame that waits
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
            except BaseException as raised:  # noqa: BLE001 - it is handed to the innermost frame
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
    """Undo PEP 479 for a function that runs as a generator: its StopIteration is an exception like any other."""
    cause = raised.__cause__
    if (
        type(raised) is RuntimeError
        and isinstance(cause, StopIteration)
        and raised.args == ("generator raised StopIteration",)
    ):
        return cause
    return raised
