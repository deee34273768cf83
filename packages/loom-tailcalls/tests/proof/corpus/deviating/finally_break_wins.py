"""`break` and `continue` in a `finally` cancel the tail call of its block."""

from subject import log, tailrec


@tailrec
async def f(n):
    log("in", n)
    if n == 0:
        return "end"
    for i in range(2):
        try:
            return await f(n - 1)  # deviates
        finally:
            log("finally", n, i)
            if n == 2 and i == 0:
                continue
            if n == 1:
                break
    return "after the loop", n


async def main():
    return await f(3)


STEP = ("returned", ("after the loop", 1))
STEP_EVENTS = [("in", 3), ("finally", 3, 0), ("in", 2), ("finally", 2, 0), ("finally", 2, 1), ("in", 1), ("finally", 1, 0)]
