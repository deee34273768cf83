"""A timeout inside the function covers one step."""

import asyncio

from subject import tailrec

now = 0.0


async def pass_a_second():
    global now
    now += 1.0
    await asyncio.sleep(0)  # the loop sees the deadline pass,
    await asyncio.sleep(0)  # and cancels here


@tailrec
async def f(n):
    if n == 0:
        return "end"
    async with asyncio.timeout(2.5):
        await pass_a_second()
        return await f(n - 1)  # deviates


async def main():
    asyncio.get_running_loop().time = lambda: now
    return await f(3)


STEP = ("returned", "end")
STEP_EVENTS = []
