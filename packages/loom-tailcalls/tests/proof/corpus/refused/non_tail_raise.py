"""A call whose value is raised is no tail call."""

from subject import tailrec


@tailrec
async def f(n):
    if n:
        return await f(n - 1)
    raise (await f(n - 1))
    #            ^ LT011
