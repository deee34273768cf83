"""`return` in a `finally` wins over the tail call of its block."""

from subject import log, tailrec


@tailrec
async def f(n):
    log("in", n)
    if n == 0:
        return "end"
    try:
        return await f(n - 1)  # deviates
    finally:
        if n == 2:
            return "finally", n


async def main():
    return await f(4)


STEP = ("returned", ("finally", 2))
STEP_EVENTS = [("in", 4), ("in", 3), ("in", 2)]
