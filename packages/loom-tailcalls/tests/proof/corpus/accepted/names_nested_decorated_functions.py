"""A decorated function inside a decorated function: each has its own steps."""

from subject import tailrec


@tailrec
async def outer(n, acc=()):
    @tailrec
    async def inner(m, total=0):
        if m == 0:
            return total
        return await inner(m - 1, total + m)

    if n == 0:
        return acc
    got = await inner(n)
    return await outer(n - 1, acc + (got,))


async def main():
    return await outer(4)


async def deep():
    return len(await outer(600))


DEEP = 600
