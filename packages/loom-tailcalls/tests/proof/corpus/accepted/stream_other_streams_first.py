"""Other streams and awaits before the tail loop."""
# reports: stream-delegation

import asyncio

from subject import collect, tailstream


async def events(n):
    for i in range(2):
        await asyncio.sleep(0)
        yield "event", n, i


@tailstream
async def s(n, acc=()):
    async for event in events(n):
        yield event
        acc += (event[2],)
    if n == 0:
        yield "final", acc
        return
    async for event in s(n - 1, acc):
        yield event


async def main():
    return await collect(s(2))
