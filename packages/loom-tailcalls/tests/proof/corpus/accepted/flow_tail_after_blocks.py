"""A tail call behind try, with and loops that are over is an ordinary one."""

import contextlib

from subject import log, tailrec


@tailrec
async def f(n, acc=()):
    try:
        if n % 2:
            raise KeyError(n)
    except KeyError as error:
        acc += (error.args[0],)
    finally:
        log("finally", n)
    with contextlib.suppress(ZeroDivisionError):
        1 // (n % 3)
        acc += ("ok",)
    async with contextlib.AsyncExitStack():
        pass
    if n == 0:
        return acc
    return await f(n - 1, acc)


async def main():
    return await f(4)
