"""Context variables set by one step are seen by the next and by the caller, as in one task."""

import contextvars

from subject import tailrec


V = contextvars.ContextVar("V", default=0)


@tailrec
async def f(n):
    V.set(V.get() + 1)
    if n == 0:
        return V.get()
    return await f(n - 1)


async def main():
    return await f(4), V.get()
