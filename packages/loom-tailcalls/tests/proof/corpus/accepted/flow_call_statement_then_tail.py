"""Other awaited functions before the tail call, in every kind of statement."""

import asyncio

from subject import tailrec


async def get(x):
    await asyncio.sleep(0)
    return x


@tailrec
async def f(n, acc=()):
    x = await get(n)
    await get(x)
    y = [await get(i) for i in range(2)]
    if await get(n == 0):
        return acc
    assert await get(True)
    return await f(x - 1, (*acc, *y, await get(x)))


async def main():
    return await f(3)
