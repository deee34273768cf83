"""A delegating loop with an `else`."""

from subject import tailstream


@tailstream
async def s(n):
    yield n
    async for x in s(n - 1):
    #              ^ LT018
        yield x
    else:
        yield "else"
