"""A bare `raise` that needs the handler of an earlier step: refused, reported, or equal."""

from subject import tailrec


@tailrec
async def f(n):
    if n == 0:
        raise
    try:
        raise ValueError(n)
    except ValueError:
        return await f(n - 1)


async def main():
    return await f(1)
