"""Nothing a step made is kept alive after the call."""

import gc
import weakref

from subject import collect, tailrec


class Thing:
    pass


ALIVE = weakref.WeakSet()


@tailrec
async def f(n, thing=None):
    made = Thing()
    ALIVE.add(made)
    if n == 0:
        return "end"
    return await f(n - 1, made)


async def main():
    result = await f(20)
    gc.collect()
    return result, len(ALIVE)
