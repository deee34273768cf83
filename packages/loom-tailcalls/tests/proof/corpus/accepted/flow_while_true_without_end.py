"""A function whose only way out is inside `while True`."""

from subject import tailrec


@tailrec
async def f(n, acc=0):
    while True:
        acc += 1
        if acc % 3 == 0:
            if n == 0:
                return acc
            return await f(n - 1, acc)


async def main():
    return await f(3)
