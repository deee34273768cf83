"""A delegating loop that changes what it yields."""

from subject import tailstream


@tailstream
async def s(n):
    yield n
    async for x in s(n - 1):
    #              ^ LT018
        yield x + 1
