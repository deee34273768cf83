"""Several stars and positions mixed."""

from subject import tailrec


@tailrec
async def f(n, a, b, c=None, *more):
    if n == 0:
        return a, b, c, more
    return await f(n - 1, *[b], a, *(), *[n, n])


async def main():
    return await f(1, "a", "b"), await f(2, "a", "b")
