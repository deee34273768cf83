"""A foreign decorator below gives another function: refused, or its effect stays on every call."""

import functools

from subject import log, tailrec


def count(fn):
    @functools.wraps(fn)
    async def wrapper(*args):
        log("wrapper", args)
        return await fn(*args)

    return wrapper


@tailrec
@count
async def f(n):
    if n == 0:
        return "end"
    return await f(n - 1)


async def main():
    return await f(3)
