"""An asyncio lock is held for one step: with recursion the second step would wait for ever."""

import asyncio

from subject import log, tailrec


LOCK = asyncio.Lock()


@tailrec
async def f(n):
    if n == 0:
        return "end"
    async with LOCK:
        log("locked", n)
        return await f(n - 1)  # deviates


async def main():
    try:
        return await asyncio.wait_for(f(3), 0.2)
    except TimeoutError:
        return "deadlock"


STEP = ("returned", "end")
STEP_EVENTS = [("locked", 3), ("locked", 2), ("locked", 1)]
