"""One parameter filled by position and by a spread is Python's own TypeError."""

from subject import tailrec


@tailrec
async def f(n, acc=0):
    if n <= 0:
        return "end"
    return await f(n - 1, **{"n": 9})


async def main():
    try:
        await f(2)
    except TypeError as error:
        return str(error)
