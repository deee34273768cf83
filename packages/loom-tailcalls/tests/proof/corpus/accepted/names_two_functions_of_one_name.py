"""Two definitions of one name: each decorated function is compiled from its own lines."""

from subject import tailrec


@tailrec
async def f(n):
    if n == 0:
        return "first"
    return await f(n - 1)


first = f


@tailrec
async def f(n):
    if n == 0:
        return "second"
    return await f(n - 1)


async def main():
    return await f(2), await first(0), await first(2)
