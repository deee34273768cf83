"""A stream that yields nothing is still an async generator."""
# reports: stream-delegation

import inspect

from subject import collect, tailstream


@tailstream
async def s(n):
    if n == 0:
        return
    async for x in s(n - 1):
        yield x
    return


async def main():
    return await collect(s(3)), inspect.isasyncgenfunction(s)
