"""Check the types of arguments, so that a wrong one is reported where it is passed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loom_runner._model.budget import Budget
from loom_runner._model.formatting import shorten
from loom_runner._model.seconds import check_seconds
from loom_runner.errors import UsageError

if TYPE_CHECKING:
    from types import UnionType

__all__ = ["check_limits", "check_type"]


def check_type(verb: str, name: str, value: object, kind: type | UnionType, expected: str) -> None:
    """Refuse a value of another type; a bool is not accepted as a number.

    Args:
        verb: The operation, for the message: *cannot VERB: NAME is VALUE. Pass EXPECTED.*

    Raises:
        UsageError: The value is not of this type.
    """
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UsageError(f"cannot {verb}: {name} is {shorten(repr(value), 60)}. Pass {expected}.")


def check_limits(verb: str, max_steps: object, wait_s: object, budget: object) -> float:
    """Refuse limits of other types for a run; return `wait_s` in seconds.

    Raises:
        UsageError: One is not of its type, or `wait_s` is negative.
    """
    check_type(verb, "max_steps", max_steps, int | None, "a whole number from 1 up, or None for no limit")
    check_type(verb, "budget", budget, Budget | None, "a Budget, for instance Budget(steps=100)")
    return check_seconds(verb, "wait_s", wait_s)
