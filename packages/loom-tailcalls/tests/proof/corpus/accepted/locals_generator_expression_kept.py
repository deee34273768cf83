"""Generator expressions kept unread to the end still see their own step."""

from subject import tailrec


@tailrec
async def f(n, kept=()):
    if n == 0:
        return [list(g) for g in kept]
    return await f(n - 1, kept + ((x * n for x in range(3)),))


async def main():
    return await f(3)
