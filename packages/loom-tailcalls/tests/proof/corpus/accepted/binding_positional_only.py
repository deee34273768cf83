"""Positional-only parameters; a keyword of the same name goes into **kwargs."""

from subject import tailrec


@tailrec
async def f(n, /, acc=0, **kw):
    if n == 0:
        return acc, kw
    return await f(n - 1, acc + 1, n=n, **{})


async def main():
    return await f(3)
