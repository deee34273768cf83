"""A monkeypatched helper is seen by the next step, even when a step itself replaces it."""

from subject import log, tailrec


@tailrec
async def walk(n):
    global step
    log(step(n))
    if n == 2:
        old = step
        step = lambda value: ("patched", old(value))
    if n == 0:
        return "end"
    return await walk(n - 1)


def step(n):
    return ("plain", n)


async def main():
    return await walk(4), step(9)
