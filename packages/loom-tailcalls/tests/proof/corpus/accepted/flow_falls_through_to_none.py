"""A function that ends without `return` gives None."""

from subject import log, tailrec


@tailrec
async def f(n):
    log(n)
    if n > 0:
        return await f(n - 1)


async def main():
    return await f(3)
