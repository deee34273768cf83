"""A global that is defined after the decorated function is found when the call happens."""

from subject import tailrec


@tailrec
async def total(n, acc=0):
    if n == 0:
        return acc
    return await total(n - 1, acc + weight(n))


def weight(n):
    return n * 10


async def main():
    return await total(4)


async def deep():
    return await total(3000)


DEEP = 45015000
