"""A closure made in one step of a stream keeps that step's variables."""
# reports: stream-delegation

from subject import collect, tailstream


@tailstream
async def s(n):
    yield lambda: n
    if n == 0:
        return
    async for x in s(n - 1):
        yield x


async def main():
    return [call() for call in await collect(s(3))]
