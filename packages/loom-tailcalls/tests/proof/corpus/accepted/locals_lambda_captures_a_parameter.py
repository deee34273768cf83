"""A lambda made in one step keeps that step's parameter."""

from subject import tailrec


@tailrec
async def f(n, made=()):
    if n == 0:
        return [call() for call in made]
    return await f(n - 1, made + ((lambda: n),))


async def main():
    return await f(4)


async def deep():
    return len(await f(2500))


DEEP = 2500
