"""`and` and `or` in tail position stop where Python stops, with the value Python gives."""

from subject import log, tailrec


def t(value):
    log(value)
    return value


@tailrec
async def f(n, value=0):
    return t(value) or (n == 0 and "end") or await f(n - 1, value)


@tailrec
async def g(n, items):
    return t(items) and await g(n - 1, items[1:])


@tailrec
async def h(n):
    return n and (n < 3 or await h(n - 3)) if n != 7 else n == 7 and (0 or await h(n - 1))


async def main():
    return await f(3), await f(2, "value"), await g(3, [1, 2]), await h(7), await h(2)


async def deep():
    return await f(2000)


DEEP = "end"
