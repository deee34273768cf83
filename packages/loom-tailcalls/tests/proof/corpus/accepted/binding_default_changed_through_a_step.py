"""`__defaults__` replaced between two runs is respected."""

from subject import tailrec


@tailrec
async def f(n, acc=0):
    if n == 0:
        return acc
    return await f(n - 1)


async def main():
    first = await f(2)
    f.__defaults__ = (42,)
    return first, await f(2)
