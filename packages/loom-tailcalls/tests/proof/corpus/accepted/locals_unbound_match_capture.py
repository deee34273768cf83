"""A capture of a pattern that matched in an earlier step is unbound now."""

from subject import log, tailrec


@tailrec
async def f(n):
    match n:
        case 2 as two:
            log(two)
        case int() if n > 5:
            pass
    if n == 0:
        return two
    return await f(n - 1)


async def main():
    return await f(3)
