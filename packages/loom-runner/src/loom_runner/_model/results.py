"""What callers and parents see of a run: the result of `start` and `resume`, and child runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loom_runner._model.waits import SETTLED

if TYPE_CHECKING:
    from loom_runner._model.records import ErrorInfo
    from loom_runner._model.statuses import Status

__all__ = ["ChildResult", "RunResult"]


@dataclass(frozen=True, slots=True)
class RunResult:
    """The run when `start` or `resume` returns.

    Attributes:
        status: See `_model/statuses.py`.
        step_index: The number of committed steps, which is the index of the next one.
        state: The latest state, of its declared type.
        result: The result of `Complete`, of its declared type; None before.
        error: Why it failed or was parked, or which limit it reached.
        wait: What a waiting run waits for, in one of the forms of `_model/waits.py`.
        was_stored: The run had ended before; no step ran.
    """

    run_id: str
    status: Status
    step_index: int
    state: Any
    result: Any = None
    error: ErrorInfo | None = None
    wait: dict[str, Any] | None = None
    was_stored: bool = False


@dataclass(frozen=True, slots=True)
class ChildResult:
    """The state of a child run, as its parent sees it.

    Attributes:
        result: What it completed with, as plain JSON; None before.
        error: Why it failed, was parked or was cancelled.
    """

    name: str
    run_id: str
    status: Status
    result: Any = None
    error: ErrorInfo | None = None

    @property
    def is_settled(self) -> bool:
        """Whether it counts for the wait of its parent: completed, failed, cancelled or parked."""
        return self.status in SETTLED
