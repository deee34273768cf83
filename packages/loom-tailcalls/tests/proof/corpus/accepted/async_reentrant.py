"""A step that starts other runs of the same function."""

import asyncio

from subject import tailrec


@tailrec(allow_recursion=True)
async def f(n, acc=0):
    if n == 0:
        return acc
    if n == 3 and acc == 0:
        acc += sum(await asyncio.gather(f(1, 1), f(2, 2)))
    return await f(n - 1, acc + 1)


async def main():
    return await f(4, 0), await f(3)
