"""Omitted keyword-only parameters take their defaults again in every step."""

from subject import log, tailrec


@tailrec
async def f(n, *, tag="default", size=4):
    log(n, tag, size)
    if n == 0:
        return tag, size
    if n % 2:
        return await f(n - 1, tag="given")
    return await f(n - 1, size=size + 1)


async def main():
    return await f(4, tag="start")


async def deep():
    return await f(3000)


DEEP = ("given", 4)
