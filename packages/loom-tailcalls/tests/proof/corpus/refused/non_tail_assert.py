"""A call in an `assert`, a `raise` or a `del` is no tail call."""

from subject import tailrec


@tailrec
async def f(n):
    assert await f(n - 1)
    #            ^ LT011
    return await f(n - 2)
