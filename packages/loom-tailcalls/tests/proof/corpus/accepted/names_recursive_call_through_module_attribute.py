"""A call through an attribute of some object is that object's business: equal, whatever it
finds.
"""

import types

from subject import log, tailrec


space = types.SimpleNamespace()


@tailrec
async def f(n):
    log(n)
    if n == 0:
        return "end"
    if n % 2:
        return await space.f(n - 1)
    return await f(n - 1)


space.f = f


async def main():
    return await f(4)
