"""The user's free variables stay visible to tools by name."""

import inspect

from subject import tailrec


def make(a, b):
    @tailrec
    async def f(n):
        if n == 0:
            return a, b
        return await f(n - 1)

    return f


async def main():
    found = inspect.getclosurevars(make(1, 2))
    return {key: found.nonlocals[key] for key in ("a", "b")}, await make(3, 4)(1)
