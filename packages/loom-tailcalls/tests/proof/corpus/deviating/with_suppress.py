"""`suppress` of a step suppresses only its own errors."""

import contextlib

from subject import tailrec


@tailrec
async def f(n):
    if n == 0:
        raise ValueError("deep")
    with contextlib.suppress(ValueError):
        if n == 2:
            raise ValueError("own")
        return await f(n - 1)  # deviates
    return await f(n - 1)


async def main():
    return await f(3)


STEP = ("raised", "ValueError: deep")
STEP_EVENTS = []
