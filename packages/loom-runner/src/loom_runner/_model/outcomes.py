"""What a step may return. An outcome is plain data; committing it is the driver's work."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

from loom_runner.errors import OutcomeError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from loom_runner._model.budget import Budget

__all__ = ["KEPT", "Child", "Complete", "Continue", "Fail", "Outcome", "Sleep", "Spawn", "Wait"]

StateT = TypeVar("StateT")
ResultT = TypeVar("ResultT")

_LONGEST_S: Final = 3.2e9
KEPT: Final = object()
"""The state of a `Complete` that names none: the one before the step is kept."""


@dataclass(frozen=True, slots=True)
class Continue(Generic[StateT]):
    """Commit `state` and run the next step with it."""

    state: StateT


@dataclass(frozen=True, slots=True)
class Complete(Generic[ResultT]):
    """Commit `result` and end the run.

    Args:
        result: What the run was for.
        state: The last state; without it the state before the step is kept.
    """

    result: ResultT
    state: Any = field(default=KEPT, kw_only=True)


@dataclass(frozen=True, slots=True)
class Fail:
    """End this attempt and the run with an error, without a retry.

    The state before the step is kept: `resume` tries the step again, which is what a person wants after mending the
    cause.

    Args:
        message: What happened, in one line.
        error_category: One word for programs.
    """

    message: str
    error_category: str = "failed"


@dataclass(frozen=True, slots=True)
class Wait(Generic[StateT]):
    """Commit `state` and park the run until a signal comes or the time is over.

    The next step finds the signal in `ctx.signal`, which is None when the time was over first.

    Args:
        state: What the next step starts from.
        signal: The name of the signal to wait for.
        timeout_s: Seconds from the commit; None waits without end.
    """

    state: StateT
    signal: str
    timeout_s: float | None = None

    def __post_init__(self) -> None:
        if not self.signal or not self.signal.isprintable():
            raise OutcomeError(f"cannot wait for signal {self.signal!r}: it is not a name.")
        if self.timeout_s is not None and not 0 <= self.timeout_s <= _LONGEST_S:
            raise OutcomeError(f"cannot wait for {self.timeout_s} s: it is a number of seconds from 0 to 100 years.")


@dataclass(frozen=True, slots=True)
class Sleep(Generic[StateT]):
    """Commit `state` and park the run until a time: a timer that survives the process.

    `start` and `resume` come back with a run that is `waiting`; a later `resume`, or a worker, goes on once it is due.
    They wait themselves when they are given `wait_s=` and the timer is due within it. A clock that is set back makes
    the run wait longer, never shorter.

    Args:
        state: What the next step starts from.
        delay_s: Seconds from the commit.
        until: A time instead, with its time zone.
    """

    state: StateT
    delay_s: float | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        if (self.delay_s is None) == (self.until is None):
            raise OutcomeError("cannot sleep: give either delay_s= or until=.")
        if self.delay_s is not None and not 0 <= self.delay_s <= _LONGEST_S:
            raise OutcomeError(f"cannot sleep for {self.delay_s} s: it is a number of seconds from 0 to 100 years.")
        if self.until is not None and self.until.tzinfo is None:
            raise OutcomeError(f"cannot sleep until {self.until}: it has no time zone. Use datetime.now(UTC) + ...")


@dataclass(frozen=True, slots=True)
class Child:
    """A run that a run starts. Its id is `<parent>:sub:<name>`.

    Args:
        name: Names it among its parent's children; the same name is the same child.
        input: What its program starts from.
        program: A key of the runner's `children=`.
        budget: Limits of its own; it never gets more than what remains of its parent's.
    """

    name: str
    input: Any = None
    program: str = field(kw_only=True)
    budget: Budget | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class Spawn(Generic[StateT]):
    """Commit `state`, start children in the same transaction, and go on when they have settled.

    A child has settled when it is completed, failed, cancelled or parked. The next step finds all of them in
    `ctx.children`, by name. A child that exists already (a crash, or an earlier `Spawn` with the same name and input)
    is not started a second time. The process that drives the parent drives its children, side by side. Children that
    are still open when the parent completes are cancelled.

    Args:
        state: What the next step starts from.
        children: The children.
        until: How many have to settle: `all`, `any`, or a number.
    """

    state: StateT
    children: Sequence[Child]
    until: Literal["all", "any"] | int = "all"

    def __post_init__(self) -> None:
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
