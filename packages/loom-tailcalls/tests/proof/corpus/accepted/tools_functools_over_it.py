"""`functools.partial`, `wraps` and `lru_cache` around a decorated function by plain call."""

import functools
import inspect

from subject import tailrec


@tailrec
async def f(n, acc=0):
    if n == 0:
        return acc
    return await f(n - 1, acc + 1)


@tailrec
def g(n):
    return n if n < 2 else g(n - 2)


async def main():
    cached = functools.lru_cache(g)
    return await functools.partial(f, acc=5)(3), cached(9), cached(9), inspect.unwrap(f).__name__
