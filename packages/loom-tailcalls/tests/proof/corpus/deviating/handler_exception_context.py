"""A retry in a handler without `finally`: same results; only the exception context of later steps
is shorter.
"""

import sys

from subject import tailrec


@tailrec
async def f(n):
    if n == 0:
        return sys.exc_info()[0] is None
    try:
        raise ValueError(n)
    except ValueError:
        return await f(n - 1)  # deviates


async def main():
    return await f(3)


STEP = ("returned", True)
STEP_EVENTS = []
