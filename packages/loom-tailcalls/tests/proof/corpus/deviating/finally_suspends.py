"""An `await` in `finally` is awaited before the next step."""

import asyncio

from subject import log, tailrec


@tailrec
async def f(n):
    if n == 0:
        return "end"
    try:
        log("body", n)
        return await f(n - 1)  # deviates
    finally:
        await asyncio.sleep(0)
        log("slept", n)


async def main():
    return await f(2)


STEP = ("returned", "end")
STEP_EVENTS = [("body", 2), ("slept", 2), ("body", 1), ("slept", 1)]
