"""The function's name is a parameter, so no call reaches the function."""

from subject import tailrec


@tailrec
async def f(n, f):
    if n == 0:
        return n
    return await f(n - 1)
    #            ^ LT017
