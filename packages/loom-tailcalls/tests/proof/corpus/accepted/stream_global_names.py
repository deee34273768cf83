"""Helpers defined later, monkeypatching and nonlocal in streams."""
# reports: stream-delegation

from subject import collect, tailstream


def make():
    seen = []

    @tailstream
    async def s(n):
        nonlocal seen
        seen = seen + [later(n)]
        yield seen
        if n == 0:
            return
        async for x in s(n - 1):
            yield x

    return s


def later(n):
    return n * 2


async def main():
    return await collect(make()(2))
