"""The decorator is used once."""
# code: LT005

from subject import tailrec


@tailrec
@tailrec
async def f(n):
    if n == 0:
        return n
    return await f(n - 1)
