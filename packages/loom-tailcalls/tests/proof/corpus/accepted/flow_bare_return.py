"""A bare `return` gives None."""

from subject import tailrec


@tailrec
async def f(n):
    if n == 0:
        return
    if n % 2:
        return await f(n - 1)
    return await f(n // 2)


async def main():
    return await f(11)
