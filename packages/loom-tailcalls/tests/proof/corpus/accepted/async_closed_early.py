"""A coroutine that was never awaited, or is closed while it waits, runs what recursion would
run.
"""

import asyncio

from subject import log, tailrec


@tailrec
async def f(n):
    try:
        await asyncio.sleep(0)
    finally:
        log("finally", n)
    if n == 0:
        return "end"
    return await f(n - 1)


async def main():
    waiting = f(2)
    waiting.send(None)
    waiting.send(None)
    waiting.close()
    unused = f(1)
    unused.close()
    return await f(1)
