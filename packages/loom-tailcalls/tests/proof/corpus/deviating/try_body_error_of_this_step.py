"""Errors of this step, also of the arguments, are caught by its own handler in every mode."""

from subject import log, tailrec


async def work(n):
    if n == 2:
        raise ValueError("work", n)
    return n


@tailrec
async def f(n, _=None):
    if n == 0:
        return "end"
    try:
        await work(n)
        return await f(n - 1, 1 // (n - 1))  # deviates
    except ValueError as error:
        log(repr(error))
    except ZeroDivisionError:
        return "division in step", n
    return await f(n - 1)


async def main():
    return await f(4)


STEP = ("returned", ("division in step", 1))
STEP_EVENTS = ["ValueError('work', 2)"]
