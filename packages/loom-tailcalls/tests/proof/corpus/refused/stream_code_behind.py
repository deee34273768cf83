"""A delegating loop with something behind it."""

from subject import tailstream


@tailstream
async def s(n):
    yield n
    if n:
        async for x in s(n - 1):
        #              ^ LT018
            yield x
    yield "behind"
