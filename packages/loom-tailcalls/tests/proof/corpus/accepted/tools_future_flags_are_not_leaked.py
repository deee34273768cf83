"""The module's own future flags hold, and no others: annotations inside a step are evaluated or not
as the module says.
"""

from subject import tailrec


@tailrec
async def f(n, seen=()):
    def inner(x: n) -> "r":
        return x

    if n == 0:
        return seen, f.__code__.co_flags & 0x1000000
    return await f(n - 1, seen + (inner.__annotations__["x"],))


async def main():
    return await f(2)
