"""Arguments are evaluated left to right as written, whatever parameters they fill."""

from subject import log, tailrec


def t(value):
    log(value)
    return value


@tailrec
async def f(a, b, c):
    if a == 0:
        return a, b, c
    return await f(c=t(b), a=t(a - 1), b=t(c + 10))


async def main():
    return await f(3, 1, 2)
