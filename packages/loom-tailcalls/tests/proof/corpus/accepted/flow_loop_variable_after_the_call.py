"""Sites before, in and after a loop."""

from subject import tailrec


@tailrec
async def f(n, acc=()):
    if n > 6:
        return await f(n - 1, acc + ("before",))
    for i in (1, 2):
        if n == 6 - i:
            return await f(n - 1, acc + (i,))
    if n == 0:
        return acc
    return await f(n - 1, acc + ("after",))


async def main():
    return await f(8)
