"""A walrus inside a comprehension binds a local of the step, and only of that step."""

from subject import tailrec


@tailrec
async def f(n):
    if n == 2:
        any((last := x) > 1 for x in range(5))
    if n == 0:
        return last
    return await f(n - 1)


async def main():
    return await f(3)
