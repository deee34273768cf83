"""How much of a run's history is kept. The run itself, with its current state, is always kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from loom_runner.errors import UsageError

__all__ = ["Every", "Keep", "Last", "Latest", "as_keep", "parse_keep"]


@dataclass(frozen=True, slots=True)
class Last:
    """Keep the last `steps` steps."""

    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UsageError(f"cannot keep the last {self.steps} steps: it is 1 or more.")

    def __str__(self) -> str:
        return f"last:{self.steps}"


@dataclass(frozen=True, slots=True)
class Every:
    """Keep every step whose number is divisible by `steps`, and the last one."""

    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UsageError(f"cannot keep every {self.steps}th step: it is 1 or more.")

    def __str__(self) -> str:
        return f"every:{self.steps}"


Keep = Literal["all"] | Last | Every

Latest: Final = Last(1)
"""Keep the last step only."""


def parse_keep(text: str) -> Keep:
    """Parse `all`, `latest`, `last:N` or `every:K`.

    Raises:
        UsageError: It is none of these.
    """
    name, _, number = text.strip().lower().partition(":")
    if name == "all" and not number:
        return "all"
    if name == "latest" and not number:
        return Latest
    if name in ("last", "every") and number.isascii() and number.isdigit():
        return Last(int(number)) if name == "last" else Every(int(number))
    raise UsageError(f"cannot keep {text!r}: use all, latest, last:N or every:K.")


def as_keep(keep: Keep | str) -> Keep:
    """Return a `Keep`, parsed if it is given as text."""
    return keep if isinstance(keep, Last | Every) else parse_keep(str(keep))
