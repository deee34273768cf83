"""A step suspends as often as in recursion, no more and no less."""

import asyncio

from subject import log, tailrec


@tailrec
async def f(tag, n):
    log(tag, n)
    await asyncio.sleep(0)
    if n == 0:
        return tag
    return await f(tag, n - 1)


async def main():
    return await asyncio.gather(f("a", 2), f("b", 3)), await f("c", 4)
