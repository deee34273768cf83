"""Annotated assignments and bare annotations in the body."""

from subject import tailrec


@tailrec
async def f(n: int, acc: int = 0):
    twice: int = n * 2
    never: int
    if n == 0:
        return acc, twice
    return await f(n - 1, acc + twice)


async def main():
    return await f(3)
