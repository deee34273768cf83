"""Only the sites inside blocks deviate; the others are exact."""

from subject import log, tailrec


@tailrec
async def f(n):
    log(n)
    if n == 0:
        return "end"
    if n % 2:
        return await f(n - 1)
    try:
        return await f(n - 1)  # deviates
    finally:
        log("finally", n)


async def main():
    return await f(4)


STEP = ("returned", "end")
STEP_EVENTS = [4, ("finally", 4), 3, 2, ("finally", 2), 1, 0]
