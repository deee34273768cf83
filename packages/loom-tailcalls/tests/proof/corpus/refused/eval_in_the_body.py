"""`eval` sees the frame."""

from subject import tailrec


@tailrec
async def f(n, acc=0):
    if n == 0:
        return acc
    return await f(eval("n - 1"))
    #              ^ LT015
