"""A cancellation in a late step reaches the step that waits, and `except CancelledError` of a step
sees it.
"""

import asyncio

from subject import log, tailrec


@tailrec
async def f(n):
    try:
        await asyncio.sleep(0 if n else 60)
    except asyncio.CancelledError:
        log("cancelled in", n)
        raise
    return await f(n - 1)


async def main():
    task = asyncio.create_task(f(3))
    for _ in range(8):
        await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return "cancelled", task.cancelled()
