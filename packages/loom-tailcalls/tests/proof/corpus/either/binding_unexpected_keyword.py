"""An unknown keyword is refused at decoration or is Python's own TypeError when it happens."""

from subject import tailrec


@tailrec
async def f(n, acc=0):
    if n == 0:
        return acc
    return await f(n - 1, nope=1)


async def main():
    return await f(2, 0)
