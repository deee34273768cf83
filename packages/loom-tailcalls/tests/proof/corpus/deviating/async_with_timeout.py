"""A timeout inside the function covers one step."""

import asyncio

from subject import tailrec


@tailrec
async def f(n):
    if n == 0:
        return "end"
    async with asyncio.timeout(0.2):
        await asyncio.sleep(0.08)
        return await f(n - 1)  # deviates


async def main():
    return await f(3)


STEP = ("returned", "end")
STEP_EVENTS = []
