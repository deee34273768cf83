"""An option with a value nobody knows."""
# code: LT009

from subject import tailrec


@tailrec(blocks="sometimes")
async def f(n):
    if n == 0:
        return n
    return await f(n - 1)
