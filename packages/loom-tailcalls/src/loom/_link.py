"""Make functions from plans: restore the cells of the original function, by name, and add those of
this package.

The decorators and `transition` start here. Linking takes a few microseconds per function object.
"""

from __future__ import annotations

import sys
from types import CellType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from loom import _runtime
from loom._locate import not_a_function, unplaced
from loom._plan import MEMBER, Plan, plan_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

SHARED = {
    f".{name}": CellType(value)
    for name, value in {
        "type": type,
        "Method": MethodType,
        "Next": _runtime.Next,
        "Push": _runtime.Push,
        "pause": _runtime.pause,
        "call_frames": _runtime.call_frames,
        "await_frames": _runtime.await_frames,
        "run_frames": _runtime.run_frames,
        "BaseException": BaseException,
        "GeneratorExit": GeneratorExit,
        "StopAsyncIteration": StopAsyncIteration,
    }.items()
}
"""The cells that are the same for every function."""

OWN = (".self", ".orig", MEMBER, ".bind", ".binder", ".enter")
"""The cells that each function has its own of."""


def decorate(fn: object, given: tuple[Any, ...], caller: FrameType | None) -> FunctionType:
    """Compile a function, or reuse the plan of its definition, and link it.

    Args:
        fn: The object that the user decorates.
        given: The options, in the order of `Options`.
        caller: The frame that called the decorator: its line identifies our decorator.

    Raises:
        TailCallError: It cannot be compiled.
    """
    if type(fn) is not FunctionType:
        raise not_a_function(fn)
    if member_of(fn) is not None:
        raise unplaced("LT005", f"{fn.__qualname__!r}", fn.__code__)
    plan = plan_of(fn, given, caller)
    if plan.is_needless:
        return fn
    plan.warn(fn.__globals__)
    return link(plan, fn)


def link(plan: Plan, original: FunctionType) -> FunctionType:
    """Build the public function for one function object of this definition."""
    code = plan.public.code
    own: dict[str, CellType] = {name: CellType() for name in OWN}
    cells = {**SHARED, **own, **dict(zip(original.__code__.co_freevars, original.__closure__ or (), strict=True))}
    public = FunctionType(
        code,
        original.__globals__,
        original.__name__,
        original.__defaults__,
        tuple([cells[name] for name in code.co_freevars]),
    )
    _copy_attributes(original, public)
    binder = FunctionType(plan.binder.code, original.__globals__, original.__name__, original.__defaults__)
    binder.__qualname__, binder.__module__ = original.__qualname__, original.__module__
    binder.__kwdefaults__ = original.__kwdefaults__
    member = Member(plan, public, binder)
    own[".self"].cell_contents = public
    own[".orig"].cell_contents = original
    own[MEMBER].cell_contents = member
    own[".bind"].cell_contents = binder
    own[".binder"].cell_contents = member.binder
    if ".enter" in plan.public.lowered.helpers:
        own[".enter"].cell_contents = entry(member)
    return public


def link_step(member: Member) -> FunctionType:
    """Build the step function of one member, with the cells of its public function."""
    public, step = member.public, member.plan.step
    cells = {**SHARED, **dict(zip(public.__code__.co_freevars, public.__closure__ or (), strict=True))}
    cells[".bind"] = CellType(member.binder())
    cells[".binder"] = CellType(member.binder)
    if ".lookup" in step.lowered.helpers:
        cells[".lookup"] = CellType(lookup_in_group(member))
    closure = tuple(cells[name] for name in step.code.co_freevars)
    made = FunctionType(step.code, public.__globals__, public.__name__, None, closure)
    made.__qualname__ = public.__qualname__
    return made


def _copy_attributes(original: FunctionType, public: FunctionType) -> None:
    """Copy what the definition set on the original to the public function."""
    public.__qualname__ = original.__qualname__
    public.__module__ = original.__module__
    public.__doc__ = original.__doc__
    public.__kwdefaults__ = original.__kwdefaults__
    if sys.version_info >= (3, 14):
        public.__annotate__ = original.__annotate__
    elif original.__annotations__:
        public.__annotations__ = original.__annotations__
    if sys.version_info >= (3, 12):
        public.__type_params__ = original.__type_params__
    if original.__dict__:
        public.__dict__.update(original.__dict__)


class Member:
    """One compiled function at run time: the public function, and its step and binder.

    The step takes every parameter by position, in the order of `co_varnames`; the binder takes the
    arguments of a call and returns them in that order.
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
            self._step = link_step(self)
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
    """Return the guard of a group: it maps a callee to its member and binder, or to None if it is
    not in the group.
    """
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
    """Replace the function in the guard when defaults were removed: no callee is this one, so every
    call is made.
    """


def entry(member: Member) -> Callable[[], FunctionType | tuple[object, ...]]:
    """Return what a compiled function calls at entry: it gives the function for the guard, and the
    defaults it needs.

    So an assignment to `__defaults__` takes effect from the next call on, as in plain Python.
    """
    wanted = member.plan.entry_defaults

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
