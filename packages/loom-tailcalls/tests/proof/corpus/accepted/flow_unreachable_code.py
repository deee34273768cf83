"""Code after a return, `if 0`, `while False` and `assert` behave as always."""

from subject import log, tailrec


@tailrec
async def f(n):
    assert n >= 0, "never negative"
    if 0:
        return await f(n + 1)
    while False:
        return await f(n + 2)
    if __debug__ and n == 3:
        return await f(n - 1)
        log("unreachable")
    if n == 0:
        return "end"
    return await f(n - 1)


async def main():
    return await f(4)
