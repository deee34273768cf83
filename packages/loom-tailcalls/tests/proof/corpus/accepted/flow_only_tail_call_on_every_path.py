"""A function that never ends except by an exception."""

from subject import log, tailrec


@tailrec
async def f(n):
    log(10 // n)
    return await f(n - 1)


async def main():
    return await f(3)
