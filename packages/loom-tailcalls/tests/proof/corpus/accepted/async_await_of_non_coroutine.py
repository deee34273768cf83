"""The function's name bound to something whose result is awaitable but no coroutine."""

import asyncio

from subject import tailrec


@tailrec
async def f(n):
    if n == 1:
        global f
        f = lambda k: asyncio.sleep(0, ("future", k))
    if n == 0:
        return "end"
    return await f(n - 1)


async def main():
    return await f(3)
