"""`yield_every` counts steps."""
# code: LT009

from subject import tailrec


@tailrec(yield_every=0)
async def f(n):
    if n == 0:
        return n
    return await f(n - 1)
