"""StopIteration inside a coroutine becomes RuntimeError, as Python says."""

from subject import tailrec


@tailrec
async def f(n, it):
    if n == 0:
        return next(it)
    return await f(n - 1, it)


async def main():
    try:
        return await f(2, iter(()))
    except RuntimeError as error:
        return str(error), repr(error.__cause__)
