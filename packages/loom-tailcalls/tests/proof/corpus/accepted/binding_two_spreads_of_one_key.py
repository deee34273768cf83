"""The same key in two spreads is Python's own TypeError, with its words."""

from subject import tailrec


@tailrec
async def f(n, **kw):
    if n <= 0:
        return "end"
    return await f(n - 1, **{"k": 1}, **{"k": 2})


async def main():
    try:
        await f(2)
    except TypeError as error:
        return str(error)
