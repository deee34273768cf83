"""The plain alias of a decorated function is the same function and loops too."""

from subject import tailrec


@tailrec
async def f(n, acc=0):
    if n == 0:
        return acc
    if n % 2:
        return await g(n - 1, acc + 1)
    return await f(n - 1, acc)


g = f


async def main():
    return await f(7), await g(6)

