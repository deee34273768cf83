"""Budgets: how much a run may use, what it has used, and what remains."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from loom_runner._model.records import Spent
from loom_runner._model.seconds import in_seconds
from loom_runner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loom_runner._model.seconds import Seconds

__all__ = ["Budget", "Meter"]


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of a run and its descendants. A run that reaches one pauses with the error category
    `limit`.

    Args:
        steps: Committed steps.
        tokens: What steps report by `ctx.budget.spend(tokens=...)`.
        cost_usd: What steps report by `ctx.budget.spend(cost_usd=...)`.
        time_s: Seconds inside steps, or a `timedelta`; time spent waiting does not count.

    None is no limit.
    """

    steps: int | None = None
    tokens: int | None = None
    cost_usd: float | None = None
    time_s: Seconds | None = None

    def __post_init__(self) -> None:
        if self.time_s is not None:
            object.__setattr__(self, "time_s", in_seconds(self.time_s))
        for field in fields(self):
            value = getattr(self, field.name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if value is not None and not (is_number and value >= 0):
                raise UsageError(f"cannot use a budget of {field.name}={value!r}: it is a number from 0 up, or None.")

    @property
    def is_unlimited(self) -> bool:
        return self == _UNLIMITED

    def as_json(self) -> dict[str, Any]:
        """Return the limits that are set."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None) -> Budget:
        return cls(**(data or {}))

    def raised_by(self, other: Budget) -> Budget:
        """Return this budget with the limits that `other` sets."""
        return Budget(**{**self.as_json(), **other.as_json()})

    def capped_by(self, other: Budget) -> Budget:
        """Return the smaller of each pair of limits."""
        limits = [*self.as_json().items(), *other.as_json().items()]
        return Budget(**{name: min(value for each, value in limits if each == name) for name, _ in limits})

    def less(self, spent: Spent) -> Budget:
        """Return what remains of each limit, never below 0."""
        used = asdict(spent)
        return Budget(**{name: max(0, value - used[name]) for name, value in self.as_json().items()})

    def more(self, spent: Spent) -> Budget:
        """Return the limits of a run that has used `spent` and may use this budget in addition."""
        used = asdict(spent)
        return Budget(**{name: value + used[name] for name, value in self.as_json().items()})

    def reached(self, spent: Spent) -> str | None:
        """Name a limit that is used up; None when there is none."""
        used = asdict(spent)
        for name, value in self.as_json().items():
            if used[name] >= value:
                return f"{name} {value:g}"
        return None


_UNLIMITED: Final = Budget()
NOTHING_SPENT: Final = Spent()


class Meter:
    """The budget as a step sees it: `ctx.budget`.

    Attributes:
        limit: The run's budget.
    """

    __slots__ = ("_committed", "_descendants", "_steps", "_time_us", "cost_usd", "limit", "tokens")

    def __init__(self, limit: Budget, own: Spent = NOTHING_SPENT, descendants: Spent = NOTHING_SPENT) -> None:
        self.limit = limit
        self._committed = Spent(tokens=own.tokens, cost_usd=own.cost_usd)
        self._descendants = descendants
        self._steps = own.steps
        self._time_us = int(own.time_s * 1_000_000)
        self.tokens = 0
        self.cost_usd = 0.0

    def spend(self, *, tokens: int = 0, cost_usd: float = 0.0) -> None:
        """Report what this attempt has used; it is committed with the step, or with the failed
        attempt.

        Nothing is stopped: when a limit is reached, the run pauses before its next step.
        """
        if not tokens >= 0 or not cost_usd >= 0 or not math.isfinite(cost_usd):
            raise UsageError(f"cannot spend tokens={tokens}, cost_usd={cost_usd}: amounts start at 0.")
        self.tokens += tokens
        self.cost_usd += cost_usd

    @property
    def spent(self) -> Spent:
        """What the run and its descendants have used, including this attempt."""
        now = Spent(self._steps, self.tokens, self.cost_usd, self._time_us / 1_000_000)
        return self._committed + self._descendants + now

    @property
    def remaining(self) -> Budget:
        """What remains of each limit; None where there is no limit."""
        return self.limit.less(self.spent)

    @property
    def reached(self) -> str | None:
        """The limit that is used up, for instance `tokens 1000`; None if there is none."""
        return None if self.limit.is_unlimited else self.limit.reached(self.spent)

    def mark_committed(self) -> None:
        """Note that what this attempt has used was committed."""
        if self.tokens or self.cost_usd:
            self._committed += Spent(tokens=self.tokens, cost_usd=self.cost_usd)
            self.tokens, self.cost_usd = 0, 0.0

    def count_step(self, duration_us: int) -> None:
        """Count a committed step. Called once per step, so it allocates nothing."""
        self._steps += 1
        self._time_us += duration_us
