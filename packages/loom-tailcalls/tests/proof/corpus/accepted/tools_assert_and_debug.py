"""`assert` and `__debug__` in the body."""

from subject import log, tailrec


@tailrec
async def f(n):
    assert n < 5, f"too many: {n}"
    if n == 0:
        return __debug__
    return await f(n - 1)


async def main():
    try:
        await f(9)
    except AssertionError as error:
        log(str(error))
    return await f(2)
