"""A `for` over a list is left by the tail call, over a generator too; the generator's `finally`
runs by the end.
"""

from subject import tailrec


def numbers(n):
    yield from range(n)


@tailrec
async def f(n):
    for x in [1, 2, 3]:
        if n > 2:
            return await f(n - 1)
    for x in {"a": 1}:
        if n > 1:
            return await f(n - 1)
    for x in (1,):
        if n > 0:
            return await f(n - 1)
    return "end"


async def main():
    return await f(4)
