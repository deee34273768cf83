"""A generator expression that outlives its step reads that step's variables."""

from subject import tailrec


@tailrec
async def f(n, items=()):
    if n == 0:
        return list(items)
    return await f(n - 1, (x + n for x in [*items, 0]))


async def main():
    return await f(3)
