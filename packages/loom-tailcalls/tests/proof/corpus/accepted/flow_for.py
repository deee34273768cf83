"""A tail call inside `for` leaves the loop."""

from subject import log, tailrec


@tailrec
async def f(n):
    for i in range(3):
        log(n, i)
        if n == 0:
            return "end"
        if i == 1:
            return await f(n - 1)
    return "fell out"


async def main():
    return await f(2)


async def deep():
    return await f(2500)


DEEP = "end"
