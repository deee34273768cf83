"""A local with the function's own name is called, not this function."""

from subject import tailrec


async def other(n):
    return "other", n


@tailrec
async def f(n, use_other):
    g = f
    if use_other:
        g = other
    if n == 0:
        return "self"
    return await g(n - 1) if use_other else await f(n - 1, n == 2)


async def main():
    return await f(4, False), await f(2, True)
