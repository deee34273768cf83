"""A call handed to another function is no tail call."""

import asyncio

from subject import tailrec


@tailrec
async def f(n):
    if n == 0:
        return n
    return await asyncio.wait_for(f(n - 1), 1)
    #                             ^ LT011
