"""An error in `finally` of a step ends the run; the next step does not begin."""

from subject import log, tailrec


@tailrec
async def f(n):
    log("in", n)
    if n == 0:
        return "end"
    try:
        return await f(n - 1)  # deviates
    finally:
        log("finally", n)
        if n == 2:
            raise KeyError("in finally")


async def main():
    return await f(3)


STEP = ("raised", "KeyError: 'in finally'")
STEP_EVENTS = [("in", 3), ("finally", 3), ("in", 2), ("finally", 2)]
