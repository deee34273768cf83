"""`except*`: its body cannot hold the call, the `try` body can."""

from subject import log, tailrec


@tailrec
async def f(n):
    if n == 0:
        raise ExceptionGroup("deep", [ValueError(0)])
    try:
        return await f(n - 1)  # deviates
    except* ValueError:
        log("handled", n)
    return "handled"


async def main():
    return await f(2)


STEP = ("raised", "ExceptionGroup: deep (1 sub-exception)")
STEP_EVENTS = []
