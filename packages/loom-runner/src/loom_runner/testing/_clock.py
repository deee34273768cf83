"""A clock that moves only when somebody sleeps on it or pushes it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

__all__ = ["FakeClock"]


@dataclass
class FakeClock:
    """Time for tests: waits are over at once, and are remembered.

    Args:
        at_us: The time, in microseconds since 1970; every look at it adds `tick_us`, so that no two are the same.
        slept: The waits so far, in seconds.
        luck: What `chance` answers.
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
