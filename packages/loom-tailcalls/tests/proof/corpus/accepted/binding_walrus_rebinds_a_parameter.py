"""A walrus in one argument is seen by the arguments to its right."""

from subject import tailrec


@tailrec
async def f(n, m=0):
    if n <= 0:
        return n, m
    return await f((n := n - 1), n * 10)


async def main():
    return await f(5)
