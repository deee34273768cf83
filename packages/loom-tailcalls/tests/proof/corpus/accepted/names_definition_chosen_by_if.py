"""The definition in the branch that ran is the one compiled."""

import sys

from subject import tailrec


if sys.maxsize < 0:

    @tailrec
    async def f(n):
        if n == 0:
            return "never"
        return await f(n - 1)

else:

    @tailrec
    async def f(n):
        if n == 0:
            return "chosen"
        return await f(n - 1)


async def main():
    return await f(3)
