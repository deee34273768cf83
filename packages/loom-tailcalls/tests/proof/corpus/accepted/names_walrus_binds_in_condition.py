"""A walrus in a condition binds a local of this step."""

from subject import tailrec


@tailrec
async def f(n, acc=()):
    if (half := n // 2) == 0:
        return acc
    return await f(half, acc + (half,))


async def main():
    return await f(40)
