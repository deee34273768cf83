"""An awaited call whose value is thrown away is no tail call."""

from subject import tailrec


@tailrec
async def f(n):
    if n:
        await f(n - 1)
        #     ^ LT011
