"""An async generator whose last act is `async for x in s(...): yield x`."""
# reports: stream-delegation

from subject import collect, tailstream


@tailstream
async def s(n):
    yield n
    if n == 0:
        return
    async for x in s(n - 1):
        yield x
    return


async def main():
    return await collect(s(3))


async def deep():
    return sum(await collect(s(2000)))


DEEP = 2001000
