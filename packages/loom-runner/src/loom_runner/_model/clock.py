"""Time and randomness. The driver gets both from a `Clock`, so that tests can control them."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime
from typing import Final, Protocol

__all__ = ["Clock", "SystemClock", "from_iso", "to_iso"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """The current time, waiting, and random numbers for jitter."""

    def now_us(self) -> int:
        """Return microseconds since 1970, UTC."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    def chance(self) -> float:
        """Return a random number from 0 up to 1."""


class SystemClock:
    """The clock of the machine."""

    def now_us(self) -> int:
        return time.time_ns() // 1000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def chance(self) -> float:
        return random.random()  # noqa: S311  (spreads retries, guards nothing)


def to_iso(at_us: int) -> str:
    """Format a time as every interface shows it: ISO 8601, UTC, microseconds."""
    seconds, microseconds = divmod(at_us, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds).isoformat(timespec="microseconds")


def from_iso(text: str) -> int:
    """Parse a time that `to_iso` formatted; return microseconds since 1970."""
    since = datetime.fromisoformat(text) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
