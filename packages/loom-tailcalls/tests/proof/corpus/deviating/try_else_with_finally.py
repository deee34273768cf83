"""The `else` of a `try` that has a `finally`."""

from subject import log, tailrec


@tailrec
async def f(n):
    log(n)
    if n == 0:
        return "end"
    try:
        pass
    except ValueError:
        return "handled"
    else:
        return await f(n - 1)  # deviates
    finally:
        log("finally", n)


async def main():
    return await f(2)


STEP = ("returned", "end")
STEP_EVENTS = [2, ("finally", 2), 1, ("finally", 1), 0]
