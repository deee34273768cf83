"""A handler around the call does not see errors of deeper steps: each step has left its `try`."""

from subject import log, tailrec


@tailrec
async def f(n):
    if n == 0:
        raise ValueError("deep")
    try:
        return await f(n - 1)  # deviates
    except ValueError:
        log("handled at", n)
        return "handled", n


async def main():
    return await f(3)


STEP = ("raised", "ValueError: deep")
STEP_EVENTS = []
