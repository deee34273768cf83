"""A spread with a key that is no string is Python's own TypeError."""

from subject import tailrec


@tailrec
async def f(n, **kw):
    if n == 0:
        return kw
    return await f(n - 1, **{1: 2})


async def main():
    try:
        return await f(1)
    except TypeError as error:
        return str(error)
