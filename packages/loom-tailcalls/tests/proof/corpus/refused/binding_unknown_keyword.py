"""A keyword nobody asked for."""

from subject import tailrec


@tailrec
async def f(n, acc=0):
    if n == 0:
        return acc
    return await f(n - 1, nope=1)
    #            ^ LT014
