"""A background task started by one step keeps that step's variables."""

import asyncio

from subject import tailrec


@tailrec
async def f(n, tasks=()):
    async def later():
        await asyncio.sleep(0)
        return n

    if n == 0:
        return await asyncio.gather(*tasks)
    return await f(n - 1, (*tasks, asyncio.create_task(later())))


async def main():
    return await f(4)
