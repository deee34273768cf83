"""An argument may await; it is awaited before the step ends, in order."""

import asyncio

from subject import log, tailrec


async def tick(value):
    log("tick", value)
    await asyncio.sleep(0)
    return value


@tailrec
async def f(n, acc=()):
    if n == 0:
        return acc
    return await f(await tick(n - 1), acc + (await tick("x"),))


async def main():
    return await f(3)
