"""A call in the arguments of a tail call is no tail call."""

from subject import tailrec


@tailrec
async def f(n):
    if n > 100:
        return n - 10
    return await f(await f(n + 11))
    #                    ^ LT011
