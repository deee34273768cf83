"""All arguments are evaluated before the first parameter changes."""

from subject import tailrec


@tailrec
async def f(a, b, c, n):
    if n == 0:
        return a, b, c
    return await f(b, c, a, n - 1)


@tailrec
async def fib(n, a=0, b=1):
    if n == 0:
        return a
    return await fib(n - 1, b, a + b)


async def main():
    return await f(1, 2, 3, 1), await f(1, 2, 3, 2), await f(1, 2, 3, 3), await fib(30)


async def deep():
    return (await fib(2500)) % 10**9


DEEP = 594751875
