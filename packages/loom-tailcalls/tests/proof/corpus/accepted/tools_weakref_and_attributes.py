"""A compiled function takes weak references, attributes, and annotations changed later."""

import functools
import weakref

from subject import tailrec


@tailrec
async def f(n: int):
    if n == 0:
        return "end"
    return await f(n - 1)


f.note = "kept"
f.__annotations__["n"] = str
f.__doc__ = "changed"
f.__name__ = "renamed"


async def main():
    return weakref.ref(f)() is f, f.note, f.__annotations__, f.__doc__, f.__name__, functools.partial(f).func is f, await f(2)
