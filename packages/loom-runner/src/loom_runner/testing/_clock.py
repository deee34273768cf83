"""A clock that moves only when it is read, slept on or set."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

__all__ = ["FakeClock"]


@dataclass
class FakeClock:
    """Time for tests: sleeps end at once, and are recorded.

    Args:
        at_us: The time in microseconds since 1970; each read adds `tick_us`, so that no two times
            are the same.
        slept: The sleeps so far, in seconds.
        luck: The return value of `chance`.
    """

    at_us: int = 1_000_000_000_000
    slept: list[float] = field(default_factory=list)
    luck: float = 0.0
    tick_us: int = 10

    def now_us(self) -> int:
        self.at_us += self.tick_us
        return self.at_us

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at_us += int(seconds * 1_000_000)
        await asyncio.sleep(0)

    def chance(self) -> float:
        return self.luck
