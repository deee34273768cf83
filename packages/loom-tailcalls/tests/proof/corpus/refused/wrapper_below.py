"""A foreign decorator below hands over its wrapper."""
# code: LT006

import functools

from subject import tailrec


def traced(fn):
    @functools.wraps(fn)
    async def wrapper(*args):
        return await fn(*args)

    return wrapper


@tailrec
@traced
async def f(n):
    if n == 0:
        return n
    return await f(n - 1)
