"""What `start` and `resume` give back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loom_runner._model.records import ErrorInfo
    from loom_runner._model.statuses import Status

__all__ = ["RunResult"]


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run stands when `start` or `resume` returns.

    Attributes:
        status: One of the table's statuses.
        step_index: The number of committed steps, which is the index of the next one.
        state: The latest state, of its declared type.
        result: What `Complete` gave, of its declared type; None before.
        error: Why it failed or parked, or which limit it reached.
        wait: What a waiting run waits for, in one of the shapes of `_waits`.
        was_stored: The run had ended before; nothing ran.
    """

    run_id: str
    status: Status
    step_index: int
    state: Any
    result: Any = None
    error: ErrorInfo | None = None
    wait: dict[str, Any] | None = None
    was_stored: bool = False
