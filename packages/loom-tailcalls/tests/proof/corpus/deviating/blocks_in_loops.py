"""Blocks in loops and loops in blocks, with `else` clauses in between."""

from subject import log, tailrec


@tailrec
async def f(n):
    for i in range(3):
        try:
            for j in range(2):
                if n and i == 1 and j == 1:
                    return await f(n - 1)  # deviates
            else:
                log("inner else", n, i)
        finally:
            log("finally", n, i)
    else:
        log("outer else", n)
    return "end", n


async def main():
    return await f(1)


STEP = ("returned", ("end", 0))
STEP_EVENTS = [
    ("inner else", 1, 0),
    ("finally", 1, 0),
    ("finally", 1, 1),
    ("inner else", 0, 0),
    ("finally", 0, 0),
    ("inner else", 0, 1),
    ("finally", 0, 1),
    ("inner else", 0, 2),
    ("finally", 0, 2),
    ("outer else", 0),
]
