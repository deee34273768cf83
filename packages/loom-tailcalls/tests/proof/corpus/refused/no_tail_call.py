"""A function without a tail call to itself would be decorated for nothing."""

from subject import tailrec


@tailrec
async def f(n):
#^ LT010
    return n
