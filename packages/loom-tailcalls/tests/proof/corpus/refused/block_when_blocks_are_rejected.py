"""`blocks="reject"`: a tail call inside a block."""

from subject import tailrec


@tailrec(blocks="reject")
async def f(n):
    if n == 0:
        return n
    try:
        return await f(n - 1)
        #            ^ LT013
    except ValueError:
        return "handled"
