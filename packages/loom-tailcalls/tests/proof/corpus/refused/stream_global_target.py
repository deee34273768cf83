"""A delegating loop whose variable is global."""

from subject import tailstream


@tailstream
async def s(n):
    global x
    yield n
    if n:
        async for x in s(n - 1):
        #              ^ LT019
            yield x
