"""An error while a spread is consumed is the error of the step."""

from subject import log, tailrec


def broken():
    yield 1
    raise KeyError("in the spread")


@tailrec
async def f(n, *rest):
    log(n, rest)
    if n == 0:
        return rest
    return await f(n - 1, *(broken() if n == 1 else (n,)))


async def main():
    try:
        await f(3)
    except KeyError as error:
        return repr(error)
