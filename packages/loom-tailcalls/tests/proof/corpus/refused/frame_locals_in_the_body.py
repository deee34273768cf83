"""The variables of a frame object are those of the compiled frame."""

import sys

from subject import tailrec


@tailrec
async def f(n):
    if n == 0:
        return sorted(sys._getframe().f_locals)
        #             ^ LT015
    return await f(n - 1)
