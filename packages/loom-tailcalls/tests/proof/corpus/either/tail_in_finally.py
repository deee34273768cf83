"""A tail call in `finally` swallows the exception in flight: refused, or equal."""

from subject import tailrec


@tailrec
async def f(n):
    if n == 0:
        return "end"
    try:
        raise ValueError(n)
    finally:
        return await f(n - 1)


async def main():
    return await f(3)
