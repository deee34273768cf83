"""`eval` in the body is refused, or equal."""

from subject import tailrec


@tailrec
async def f(n, acc=0):
    if n == 0:
        return acc
    return await f(eval("n - 1"), acc + eval("n"))


async def main():
    return await f(4)
