"""`inspect.getsource` gives the user's lines."""

import inspect

from subject import tailrec


@tailrec
async def f(n):
    # a comment
    if n == 0:
        return n
    return await f(n - 1)


async def main():
    return inspect.getsource(f), inspect.getsourcelines(f)[1], inspect.getsourcefile(f) == __file__
