"""`await` inside comprehensions and async generator expressions, in the arguments."""

from subject import tailrec


async def get(x):
    return x * 2


async def numbers(n):
    for value in range(n):
        yield value


@tailrec
async def f(n, acc=()):
    if n == 0:
        return acc
    return await f(n - 1, acc + tuple([await get(i) async for i in numbers(n)]) + tuple([i async for i in (j + n async for j in numbers(1))]))


async def main():
    return await f(3)
