"""*args is a fresh tuple each step."""

from subject import tailrec


@tailrec
async def f(n, *items, sep="-"):
    if n == 0:
        return sep.join(items), type(items).__name__
    return await f(n - 1, *items, str(n), sep=sep)


async def main():
    return await f(3, "x"), await f(2, sep="+")


async def deep():
    return len((await f(2000))[0])


DEEP = 8892
