"""Unpacking, starred targets, attribute and subscript targets."""

from subject import tailrec


@tailrec
async def f(n, box):
    first, *rest = range(n + 2)
    box["k"], box[n] = rest, first
    (a, [b, *c]), d = (n, (n, n, n)), n
    box[-1] = a, b, c, d
    if n == 0:
        return box
    return await f(n - 1, box)


async def main():
    return await f(2, {})
