"""`finally` of a step runs before the next step, with the parameters of its own step."""

from subject import log, tailrec


@tailrec
async def f(n, tag="first"):
    log("in", n, tag)
    if n == 0:
        return "end"
    try:
        return await f(n - 1, f"from {n}")  # deviates
    finally:
        log("out", n, tag)


async def main():
    return await f(2)


STEP = ("returned", "end")
STEP_EVENTS = [("in", 2, "first"), ("out", 2, "first"), ("in", 1, "from 2"), ("out", 1, "from 2"), ("in", 0, "from 1")]
