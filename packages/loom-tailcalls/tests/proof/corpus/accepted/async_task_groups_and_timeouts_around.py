"""A timeout around the whole run covers the whole run."""

import asyncio

from subject import log, tailrec


@tailrec
async def f(n):
    await asyncio.sleep(0.005)
    if n == 0:
        return "end"
    return await f(n - 1)


async def main():
    try:
        async with asyncio.timeout(0.02):
            await f(1000)
    except TimeoutError:
        log("timed out")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(f(n)) for n in (1, 2)]
    return [task.result() for task in tasks]
