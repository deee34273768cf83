"""Durations as people write them in a runbook: `90s`, `30m`, `1h30m`, `14d`."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["format_duration", "parse_duration"]

_UNITS: Final = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
_FORM: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII)


def parse_duration(text: object) -> float:
    """Return seconds.

    Raises:
        ValueError: It is not a duration above 0 with units.
    """
    found = _FORM.fullmatch(text.strip()) if isinstance(text, str) and text.strip() else None
    seconds = (
        sum(float(part) * unit for part, unit in zip(found.groups(), _UNITS.values(), strict=True) if part)
        if found
        else 0
    )
    if not seconds:
        raise ValueError(f"{text!r} is not a duration such as 90s, 30m, 1h30m or 14d")
    return seconds


def format_duration(seconds: float) -> str:
    """Return seconds in the form that `parse_duration` reads."""
    if seconds != int(seconds):
        return f"{seconds:g}s"
    rest, parts = int(seconds), ""
    for unit, size in _UNITS.items():
        count, rest = divmod(rest, int(size))
        parts += f"{count}{unit}" if count else ""
    return parts or "0s"
