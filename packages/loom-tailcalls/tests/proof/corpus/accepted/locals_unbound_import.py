"""A name that an import of an earlier step bound is unbound now."""

from subject import tailrec


@tailrec
async def f(n):
    if n == 2:
        import math
    if n == 0:
        return math.pi
    return await f(n - 1)


async def main():
    return await f(3)
