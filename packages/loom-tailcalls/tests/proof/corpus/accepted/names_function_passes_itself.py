"""A function that hands itself on hands on the public object."""

from subject import tailrec


@tailrec
async def f(n, me=None):
    if n == 0:
        return me is f, me.__name__
    return await f(n - 1, f)


async def main():
    return await f(3)
