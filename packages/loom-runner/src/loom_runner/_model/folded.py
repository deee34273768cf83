"""Sums over the steps of a run that its trace does not show one by one."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Counted", "FoldedCalls", "FoldedSteps", "RunSize"]


@dataclass(frozen=True, slots=True)
class Counted:
    """How many rows have a value."""

    value: str
    count: int


@dataclass(frozen=True, slots=True)
class FoldedCalls:
    """The calls of one tool with one status.

    Attributes:
        tries: How often they were started.
        work_us: The sum of the durations of their last tries.
    """

    name: str
    status: str
    count: int
    tries: int
    work_us: int


@dataclass(frozen=True, slots=True)
class FoldedSteps:
    """Sums over consecutive steps.

    Attributes:
        outcomes: How many steps have each outcome, the most frequent first.
        work_us: The sum of their durations.
        started_at: The start of the first step; `ended_at` is the end of the last one.
        fences: The lowest and the highest fence under which they were committed.
        attempts: How many attempts of them did not commit, by kind.
        calls: Their tool calls.
        waits: How often the run waited between them; `waited_us` is for how long.
    """

    outcomes: tuple[Counted, ...]
    work_us: int
    started_at: int | None
    ended_at: int | None
    fences: tuple[int, int]
    attempts: tuple[Counted, ...]
    calls: tuple[FoldedCalls, ...]
    waits: int
    waited_us: int

    @property
    def count(self) -> int:
        """The number of steps."""
        return sum(each.count for each in self.outcomes)


@dataclass(frozen=True, slots=True)
class RunSize:
    """The number of rows of a run."""

    steps: int
    attempts: int
    tool_calls: int
    leases: int

    @property
    def rows(self) -> int:
        """All of them."""
        return self.steps + self.attempts + self.tool_calls + self.leases
