"""`x = await f(...); return x`: refused, or equal."""

from subject import tailrec


@tailrec
async def f(n):
    if n == 0:
        return "end"
    x = await f(n - 1)
    return x


async def main():
    return await f(3)
