"""Blocks and spreads: the arguments are bound inside the block."""

from subject import log, tailrec


@tailrec
async def f(n, *items, **kw):
    try:
        if n == 0:
            return items, kw
        return await f(n - 1, *items, n, **{**kw, f"k{n}": n})  # deviates
    finally:
        log("finally", n, items)


async def main():
    return await f(2)


STEP = ("returned", ((2, 1), {"k2": 2, "k1": 1}))
STEP_EVENTS = [("finally", 2, ()), ("finally", 1, (2,)), ("finally", 0, (2, 1))]
