"""A foreign decorator above would run once instead of every step."""

import functools

from subject import tailrec


def traced(fn):
    @functools.wraps(fn)
    async def wrapper(*args):
        return await fn(*args)

    return wrapper


@traced
#^2 LT007
@tailrec
async def f(n):
    if n == 0:
        return n
    return await f(n - 1)
