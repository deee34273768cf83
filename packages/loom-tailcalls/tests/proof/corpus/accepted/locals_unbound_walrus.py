"""A walrus that short-circuit skipped leaves its name unbound in this step."""

from subject import tailrec


@tailrec
async def f(n):
    n == 2 and (seen := n)
    if n == 0:
        return seen
    return await f(n - 1)


async def main():
    return await f(3)
