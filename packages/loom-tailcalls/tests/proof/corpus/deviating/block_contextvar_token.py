"""A context variable set and reset per step."""

import contextvars

from subject import tailrec


V = contextvars.ContextVar("V", default=0)


@tailrec
async def f(n):
    if n == 0:
        return V.get()
    token = V.set(V.get() + 1)
    try:
        return await f(n - 1)  # deviates
    finally:
        V.reset(token)


async def main():
    return await f(4), V.get()


STEP = ("returned", (0, 0))
STEP_EVENTS = []
