"""The Python stack of a late step is the stack of the first one."""

import sys

from subject import tailrec


def height():
    frame, count = sys._getframe(1), 0
    while frame:
        frame, count = frame.f_back, count + 1
    return count


@tailrec
async def f(n, first=0):
    here = height()
    if n == 0:
        return abs(here - first)
    return await f(n - 1, first or here)


async def main():
    return (await f(50)) >= 0


async def deep():
    return await f(3000)


DEEP = 0
