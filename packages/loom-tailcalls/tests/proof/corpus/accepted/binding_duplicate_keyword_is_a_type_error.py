"""An explicit keyword and the same key in a spread are Python's own TypeError."""

from subject import tailrec


@tailrec
async def f(n, step=1):
    if n <= 0:
        return "end"
    return await f(n - 1, step=step, **{"step": 9})


async def main():
    try:
        await f(2)
    except TypeError as error:
        return str(error)
