"""Only the last operand of `or` is in tail position."""

from subject import tailrec


@tailrec
async def f(n):
    return await f(n - 1) or n
    #            ^ LT011
