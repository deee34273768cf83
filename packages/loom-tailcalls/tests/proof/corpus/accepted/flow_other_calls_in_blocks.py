"""Calls of other functions inside blocks are nobody's concern."""

import contextlib

from subject import tailrec


async def other(n):
    if n == 2:
        raise ValueError(n)
    return n


@tailrec
async def f(n, acc=()):
    if n == 0:
        return acc
    try:
        with contextlib.nullcontext():
            got = await other(n)
    except ValueError as error:
        got = repr(error)
    return await f(n - 1, acc + (got,))


async def main():
    return await f(3)
