"""A retry in a handler whose `try` has a `finally`: the `finally` runs first."""

from subject import log, tailrec


@tailrec
async def f(n):
    try:
        log("try", n)
        if n:
            raise ValueError(n)
        return "ok"
    except ValueError:
        return await f(n - 1)  # deviates
    finally:
        log("finally", n)


async def main():
    return await f(2)


STEP = ("returned", "ok")
STEP_EVENTS = [("try", 2), ("finally", 2), ("try", 1), ("finally", 1), ("try", 0), ("finally", 0)]
