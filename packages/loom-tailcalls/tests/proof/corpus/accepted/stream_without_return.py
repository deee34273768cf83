"""The tail loop may be the last statement of the body; `return` behind it is not needed."""
# reports: stream-delegation

from subject import collect, tailstream


@tailstream
async def s(n):
    yield n
    if n > 0:
        async for item in s(n - 1):
            yield item


async def main():
    return await collect(s(3))


async def deep():
    return len(await collect(s(2000)))


DEEP = 2001
