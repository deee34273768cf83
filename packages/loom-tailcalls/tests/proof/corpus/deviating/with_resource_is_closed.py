"""A resource that a step opens and hands on is closed when the next step runs."""

import io

from subject import tailrec


@tailrec
async def f(n, handle=None):
    if n == 0:
        return handle.closed
    with io.StringIO("text") as opened:
        return await f(n - 1, opened)  # deviates


async def main():
    return await f(2)


STEP = ("returned", True)
STEP_EVENTS = []
