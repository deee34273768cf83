"""The target of a `with` that this step did not enter is unbound."""

import contextlib

from subject import log, tailrec


@tailrec
async def f(n):
    if n == 2:
        with contextlib.nullcontext("open") as handle:
            log(handle)
    if n == 0:
        return handle
    return await f(n - 1)


async def main():
    return await f(3)
