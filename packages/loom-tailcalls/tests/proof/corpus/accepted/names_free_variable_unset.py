"""A free variable without a value yet is Python's own NameError, raised at the user's line."""

from subject import log, tailrec


async def main():
    @tailrec
    async def f(n):
        if n == 0:
            return later
        return await f(n - 1)

    try:
        await f(2)
    except NameError as error:
        log(str(error), type(error).__name__)
    later = 5
    return await f(2)
