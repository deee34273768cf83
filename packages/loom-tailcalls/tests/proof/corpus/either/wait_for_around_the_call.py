"""`return await wait_for(f(...))` is not a tail call."""

import asyncio

from subject import tailrec


@tailrec
async def f(n):
    if n == 0:
        return "end"
    return await asyncio.wait_for(f(n - 1), 5)


async def main():
    return await f(3)
