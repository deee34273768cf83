"""Blocks and per-step closures together."""

from subject import log, tailrec


@tailrec
async def f(n, made=()):
    try:
        if n == 0:
            return [call() for call in made]
        return await f(n - 1, made + ((lambda: n),))  # deviates
    finally:
        log("finally", n)


async def main():
    return await f(3)


STEP = ("returned", [3, 2, 1])
STEP_EVENTS = [("finally", 3), ("finally", 2), ("finally", 1), ("finally", 0)]
