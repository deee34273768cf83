"""A missing argument."""

from subject import tailrec


@tailrec
async def f(n, acc):
    if n == 0:
        return acc
    return await f(n - 1)
    #            ^ LT014
