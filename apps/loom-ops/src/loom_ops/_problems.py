"""What is wrong with a runbook, with its line and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Problem"]


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong.

    Args:
        line: Where, from 1.
        text: What and why, without a full stop.
        fix: What to do, without a full stop.
        severity: A `warning` does not keep the runbook from being used.
    """

    line: int
    text: str
    fix: str
    severity: Literal["error", "warning"] = "error"
