"""A timeout around the whole run covers the whole run; a task group runs several."""

import asyncio

from subject import log, tailrec


@tailrec
async def f(n):
    await asyncio.sleep(0.01)
    if n == 0:
        return "end"
    return await f(n - 1)


async def main():
    try:
        await asyncio.wait_for(asyncio.create_task(f(500)), 0.05)
    except TimeoutError:
        log("timed out")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(f(n)) for n in (0, 0)]
    return [task.result() for task in tasks]
