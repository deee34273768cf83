"""A tail call in `finally` swallows the exception on its way."""

from subject import tailrec


@tailrec
async def f(n):
    if n == 0:
        return n
    try:
        raise ValueError(n)
    finally:
        return await f(n - 1)
        #            ^ LT012
