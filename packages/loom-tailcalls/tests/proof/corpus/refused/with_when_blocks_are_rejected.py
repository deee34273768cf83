"""`blocks="reject"`: a tail call inside `async with`."""

import contextlib

from subject import tailrec


@tailrec(blocks="reject")
async def f(n):
    async with contextlib.AsyncExitStack():
        if n == 0:
            return n
        return await f(n - 1)
        #            ^ LT013
