"""A parameter with the function's own name is called, whatever it is."""

from subject import tailrec


async def other(n):
    return "other", n


@tailrec
async def f(n, f):
    if n == 0:
        return "end"
    return await f(n - 1)


async def main():
    return await f(3, other)
