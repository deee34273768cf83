"""The `else` of a `try` without `finally` is an exact tail position."""

from subject import log, tailrec


@tailrec
async def f(n):
    try:
        log(n)
        if n == 3:
            raise KeyError(n)
    except KeyError:
        log("handled")
    else:
        if n == 0:
            raise ValueError("deep")
        return await f(n - 1)
    return await f(n - 1)


async def main():
    try:
        return await f(4)
    except ValueError as error:
        return str(error)


async def deep():
    try:
        await f(2000)
    except ValueError as error:
        return str(error)


DEEP = "deep"
