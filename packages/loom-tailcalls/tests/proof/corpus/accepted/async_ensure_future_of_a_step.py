"""A run started as a task from inside a step, and awaited by a later one."""

import asyncio

from subject import tailrec


@tailrec(allow_recursion=True)
async def f(n, task=None):
    await asyncio.sleep(0)
    if n == 0:
        return await task if task else "leaf"
    if n == 2:
        return await f(n - 1, asyncio.ensure_future(f(0)))
    return await f(n - 1, task)


async def main():
    return await f(3)
