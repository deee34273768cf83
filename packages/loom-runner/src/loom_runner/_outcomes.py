"""What a step may return. An outcome is plain data; committing it is the driver's work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Complete", "Continue", "Fail", "Outcome", "Wait"]

StateT = TypeVar("StateT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Continue(Generic[StateT]):
    """Commit `state` and run the next step with it."""

    state: StateT


@dataclass(frozen=True, slots=True)
class Complete(Generic[ResultT]):
    """Commit `result` and end the run."""

    result: ResultT


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


Outcome = Continue[StateT] | Complete[ResultT] | Wait[StateT] | Fail
