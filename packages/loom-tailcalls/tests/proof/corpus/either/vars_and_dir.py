"""`vars()` and `dir()` without arguments show the locals: refused, or equal."""

from subject import tailrec


@tailrec
async def f(n, acc=()):
    if n == 0:
        return acc
    return await f(n - 1, acc + (tuple(sorted(vars())), tuple(dir())))


async def main():
    return await f(2)
