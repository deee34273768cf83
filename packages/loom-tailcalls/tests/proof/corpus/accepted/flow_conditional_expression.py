"""A conditional expression whose branches are values and tail calls, nested."""

from subject import tailrec


@tailrec
async def f(n, acc=0):
    return acc if n == 0 else await f(n - 1, acc + n) if n % 2 else await f(n - 1, acc)


@tailrec
async def g(n):
    return (await g(n - 2) if n % 2 == 0 else "odd") if n > 0 else "even"


async def main():
    return await f(5), await g(4), await g(5)


async def deep():
    return await f(3001)


DEEP = 2253001
