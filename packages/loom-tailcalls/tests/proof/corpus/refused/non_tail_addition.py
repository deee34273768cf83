"""Something happens after the call returns."""

from subject import tailrec


@tailrec
async def f(n):
    if n == 0:
        return 0
    return 1 + await f(n - 1)
    #                ^ LT011
