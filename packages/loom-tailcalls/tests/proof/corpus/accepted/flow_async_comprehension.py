"""Async comprehensions run inside the step."""

from subject import tailrec


async def numbers(n):
    for i in range(n):
        yield i


@tailrec
async def f(n, acc=0):
    got = [i * n async for i in numbers(n) if i]
    if n == 0:
        return acc
    return await f(n - 1, acc + sum(got))


async def main():
    return await f(4)
