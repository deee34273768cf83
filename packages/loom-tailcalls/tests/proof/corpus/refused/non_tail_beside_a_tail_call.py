"""One tail call does not excuse another call that still grows the stack."""

from subject import tailrec


@tailrec
async def f(n):
    if n == 0:
        return 0
    if n == 1:
        got = await f(0)
        #           ^ LT011
        return got
    return await f(n - 1)
