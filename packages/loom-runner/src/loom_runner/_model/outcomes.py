"""What a step may return. An outcome is plain data; the driver commits it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

from loom_runner._model.formatting import shorten
from loom_runner._model.seconds import check_seconds
from loom_runner.errors import OutcomeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loom_runner._model.budget import Budget
    from loom_runner._model.seconds import Seconds

__all__ = ["UNCHANGED", "Child", "Complete", "Continue", "Fail", "Outcome", "Sleep", "Spawn", "Wait"]

StateT = TypeVar("StateT")
ResultT = TypeVar("ResultT")

UNCHANGED: Final = object()
"""The state of a `Complete` without one: the run keeps the state before the step."""


@dataclass(frozen=True, slots=True)
class Continue(Generic[StateT]):
    """Commit `state` and run the next step with it."""

    state: StateT


@dataclass(frozen=True, slots=True)
class Complete(Generic[ResultT]):
    """Commit `result` and end the run.

    Args:
        result: The result of the run.
        state: The last state; by default the state before the step.
    """

    result: ResultT
    state: Any = field(default=UNCHANGED, kw_only=True)


@dataclass(frozen=True, slots=True)
class Fail:
    """End this attempt and the run with an error, without a retry.

    The run keeps the state before the step, and `resume` tries the step again: fix the cause first.

    Args:
        message: What happened, in one line.
        error_category: An identifier for programs.
    """

    message: str
    error_category: str = "failed"

    def __post_init__(self) -> None:
        for name, value in (("message", self.message), ("error_category", self.error_category)):
            if not isinstance(value, str):
                raise OutcomeError(f"cannot fail: {name} is {shorten(repr(value), 60)}. Pass a string.")


@dataclass(frozen=True, slots=True)
class Wait(Generic[StateT]):
    """Commit `state` and let the run wait until a signal is sent or the timeout is over.

    The next step finds the signal in `ctx.signal`, which is None after a timeout.

    Args:
        state: What the next step starts from.
        signal: The name of the signal to wait for.
        timeout_s: Seconds from the commit, or a `timedelta`; None waits forever.
    """

    state: StateT
    signal: str
    timeout_s: Seconds | None = None

    def __post_init__(self) -> None:
        name: object = self.signal
        if not isinstance(name, str) or not name or not name.isprintable():
            raise OutcomeError(
                f"cannot wait for signal {shorten(repr(name), 60)}: a name has printable characters, and is one string."
            )
        if self.timeout_s is not None:
            seconds = check_seconds(f"wait for signal {name!r}", "timeout_s", self.timeout_s, error=OutcomeError)
            object.__setattr__(self, "timeout_s", seconds)


@dataclass(frozen=True, slots=True)
class Sleep(Generic[StateT]):
    """Commit `state` and let the run wait until a time: a timer that survives the process.

    `start` and `resume` return a run that is `waiting`; a later `resume`, or a worker, continues it
    when the timer is due. They wait themselves if the timer is due within their `wait_s=`. If the
    clock is set back, the run waits longer, never shorter.

    Args:
        state: What the next step starts from.
        delay_s: Seconds from the commit, or a `timedelta`.
        until: A time instead, with a time zone. With a `ZoneInfo` it is that local time, also
            after a change to or from daylight saving time.
    """

    state: StateT
    delay_s: Seconds | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        if (self.delay_s is None) == (self.until is None):
            raise OutcomeError("cannot sleep: give either delay_s= or until=.")
        if self.delay_s is not None:
            object.__setattr__(self, "delay_s", check_seconds("sleep", "delay_s", self.delay_s, error=OutcomeError))
        until: object = self.until
        if until is not None and not isinstance(until, datetime):
            raise OutcomeError(
                f"cannot sleep until {shorten(repr(until), 60)}: it is a {type(until).__name__}. Pass a datetime with "
                "a time zone."
            )
        if until is not None and until.utcoffset() is None:
            raise OutcomeError(f"cannot sleep until {until}: it has no time zone. Use datetime.now(UTC) + ...")


@dataclass(frozen=True, slots=True)
class Child:
    """A run that another run starts. Its id is `<parent>:sub:<name>`.

    Args:
        name: Identifies it among its parent's children: the same name is the same child.
        input: Its initial state.
        program: A key of the parent agent's `children=`.
        budget: Its limits; it never gets more than what remains of its parent's budget.
    """

    name: str
    input: Any = None
    program: str = field(kw_only=True)
    budget: Budget | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class Spawn(Generic[StateT]):
    """Commit `state`, create children in the same transaction, and continue when they have settled.

    A child has settled when it is completed, failed, cancelled or parked. The next step finds all
    children in `ctx.children`, by name. A child that exists already (after a crash, or from an
    earlier `Spawn` with the same name and input) is not created again. The process that drives the
    parent drives its children concurrently. Children that are still open when the parent completes
    are cancelled.

    Args:
        state: What the next step starts from.
        children: The children.
        until: How many have to settle: `all`, `any`, or a number.
    """

    state: StateT
    children: Sequence[Child]
    until: Literal["all", "any"] | int = "all"

    def __post_init__(self) -> None:
        children: object = self.children
        if isinstance(children, str | Mapping | Child) or not isinstance(children, Iterable):
            raise OutcomeError(f"cannot spawn {shorten(repr(children), 60)}: children is a list of Child(...).")
        wrong = next((each for each in children if not isinstance(each, Child)), None)
        if wrong is not None:
            raise OutcomeError(
                f"cannot spawn {shorten(repr(wrong), 60)}: it is no Child. Pass Child(name, input, program=...)."
            )
        names = [child.name for child in self.children]
        if len(set(names)) < len(names):
            raise OutcomeError(f"cannot spawn {', '.join(names)}: two children have the same name.")
        if self.until not in ("all", "any") and (not isinstance(self.until, int) or isinstance(self.until, bool)):
            raise OutcomeError(f"cannot spawn until {self.until!r}: it is 'all', 'any' or a number of children.")
        if not 0 <= self.needed <= len(names):
            raise OutcomeError(f"cannot spawn {len(names)} children until {self.until!r} have settled.")

    @property
    def needed(self) -> int:
        """How many children have to settle."""
        if self.until == "all":
            return len(self.children)
        return 1 if self.until == "any" else self.until


Outcome = Continue[StateT] | Complete[ResultT] | Wait[StateT] | Sleep[StateT] | Spawn[StateT] | Fail
"""What a step may return."""
