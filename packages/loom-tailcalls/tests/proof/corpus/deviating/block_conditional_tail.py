"""A conditional expression inside a block."""

from subject import log, tailrec


@tailrec
async def f(n):
    try:
        return "end" if n == 0 else await f(n - 1)  # deviates
    finally:
        log("finally", n)


async def main():
    return await f(2)


STEP = ("returned", "end")
STEP_EVENTS = [("finally", 2), ("finally", 1), ("finally", 0)]
