"""Calling a coroutine function without `await` runs nothing."""

from subject import tailrec


@tailrec
async def f(n):
    if n == 0:
        return n
    return f(n - 1)
    #      ^ LT016
