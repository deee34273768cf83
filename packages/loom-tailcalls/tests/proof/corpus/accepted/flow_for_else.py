"""A tail call in a loop's `else` runs only when the loop was not broken."""

from subject import tailrec


@tailrec
async def f(n, limit):
    for i in range(n):
        if i > limit:
            break
    else:
        if n == 0:
            return "end"
        return await f(n - 1, limit)
    return "broke", i


async def main():
    return await f(2, 5), await f(9, 5)


async def deep():
    return await f(1200, 5000)


DEEP = "end"
