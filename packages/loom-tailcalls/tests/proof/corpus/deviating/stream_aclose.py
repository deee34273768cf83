"""`aclose` runs the `finally` of the innermost step at once."""

from subject import log, tailstream


@tailstream
async def s(n):
    try:
        yield n
    finally:
        log("finally", n)
    if n == 0:
        return
    async for x in s(n - 1):  # deviates
        yield x
    return


async def main():
    stream = s(3)
    await stream.asend(None)
    await stream.asend(None)
    await stream.aclose()
    log("closed")
    return "end"


STEP = ("returned", "end")
STEP_EVENTS = [("finally", 3), ("finally", 2), "closed"]
