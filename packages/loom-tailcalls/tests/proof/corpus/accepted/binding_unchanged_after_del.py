"""`x = x` after `del x` is an UnboundLocalError, and after an `except ... as x` too."""

from subject import log, tailrec


@tailrec
async def f(n, x=1):
    log("f", n)
    if n == 1:
        del x
    if n == 0:
        return x
    return await f(n - 1, x)


@tailrec
async def g(n, x=1):
    log("g", n)
    try:
        if n == 1:
            raise KeyError(n)
    except KeyError as x:
        log(repr(x))
    if n == 0:
        return x
    return await g(n - 1, x)


async def main():
    for call in (f, g):
        try:
            await call(3)
        except UnboundLocalError as error:
            log(str(error)[:40])
