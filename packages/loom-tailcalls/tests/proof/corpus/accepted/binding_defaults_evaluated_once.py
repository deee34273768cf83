"""A default is evaluated when the function is defined, once, and never by the compiler."""

from subject import log, tailrec


def mark(value):
    log("evaluated", value)
    return value


@tailrec
async def f(n, acc=mark(0), *, step=mark(1)):
    if n <= 0:
        return acc
    return await f(n - step, acc + n)


async def main():
    return await f(3), await f(4, step=2)
