"""A loop that changes what it yields is not a tail loop."""

from subject import collect, tailstream


@tailstream
async def s(n):
    yield n
    if n == 0:
        return
    async for x in s(n - 1):
        yield x + 1
    return


async def main():
    return await collect(s(2))
