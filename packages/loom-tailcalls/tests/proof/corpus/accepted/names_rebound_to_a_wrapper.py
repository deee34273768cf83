"""A wrapper put over the global name after decoration sees every step."""

from subject import log, tailrec


@tailrec
async def f(n):
    if n == 0:
        return "end"
    return await f(n - 1)


inner = f


async def f(n):
    log("wrapper", n)
    return await inner(n)


async def main():
    return await f(3)
