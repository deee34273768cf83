"""Explicit arguments fill *args and **kwargs too."""

from subject import log, tailrec


@tailrec
async def f(n, *rest, key=None, **kw):
    log(n, rest, key, kw)
    if n == 0:
        return "end"
    if n % 2:
        return await f(n - 1, n, n * 2, key=n, extra=n)
    return await f(n - 1)


async def main():
    return await f(4, "r")
