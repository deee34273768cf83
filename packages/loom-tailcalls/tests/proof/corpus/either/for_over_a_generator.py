"""A `for` over a generator with a `finally`: when it is closed can be seen; reported, or equal."""

from subject import log, tailrec


def numbers(n):
    try:
        yield from range(3)
    finally:
        log("closed", n)


@tailrec
async def f(n):
    log("in", n)
    for x in numbers(n):
        if n == 0:
            return "end"
        return await f(n - 1)


async def main():
    return await f(2)
