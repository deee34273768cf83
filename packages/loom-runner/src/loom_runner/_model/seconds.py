"""Lengths of time that callers give: a number of seconds, or a `timedelta`."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Final

from loom_runner._model.formatting import shorten
from loom_runner.errors import UsageError

__all__ = ["MAX_SECONDS", "Seconds", "check_seconds", "in_seconds"]

Seconds = float | timedelta
"""A length of time as a caller gives it."""

MAX_SECONDS: Final = 3.2e9
"""About 100 years: the largest length of time that is accepted."""


def in_seconds(length: Seconds) -> float:
    """Return a length of time that was checked before, in seconds."""
    return length.total_seconds() if isinstance(length, timedelta) else length


def check_seconds(
    verb: str, name: str, value: object, *, is_positive: bool = False, error: type[Exception] = UsageError
) -> float:
    """Return a length of time in seconds.

    Args:
        verb: The operation, for the message: *cannot VERB: NAME is VALUE. Pass ...*
        is_positive: Zero is refused, too.
        error: The type of the error.

    Raises:
        UsageError: It is neither a number nor a `timedelta`, it is negative, not finite, or longer
            than 100 years.
    """
    given = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(given, int | float) and not isinstance(given, bool):
        seconds = float(given) if abs(given) <= MAX_SECONDS else math.inf
        if 0 <= seconds <= MAX_SECONDS and (seconds or not is_positive):
            return seconds
    limits = "above 0 and up to 100 years" if is_positive else "from 0 to 100 years"
    raise error(
        f"cannot {verb}: {name} is {shorten(repr(value), 60)}. Pass a number of seconds {limits}, or a timedelta."
    )
