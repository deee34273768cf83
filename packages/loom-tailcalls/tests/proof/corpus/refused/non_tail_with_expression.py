"""A call in the head of a `with`, a `while` or an `if` is no tail call."""

from subject import tailrec


@tailrec
async def f(n):
    if n and await f(n - 1):
        #          ^ LT011
        return n
    return await f(n - 2)
