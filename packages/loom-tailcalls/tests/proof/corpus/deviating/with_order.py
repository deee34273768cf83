"""`with` of a step is left before the next step enters its own."""

from subject import log, tailrec


class Span:
    def __init__(self, n):
        self.n = n

    def __enter__(self):
        log("enter", self.n)
        return self

    def __exit__(self, *error):
        log("exit", self.n, error)


@tailrec
async def f(n):
    if n == 0:
        return "end"
    with Span(n) as outer, Span(-n):
        return await f(outer.n - 1)  # deviates


async def main():
    return await f(2)


STEP = ("returned", "end")
STEP_EVENTS = [
    ("enter", 2),
    ("enter", -2),
    ("exit", -2, (None, None, None)),
    ("exit", 2, (None, None, None)),
    ("enter", 1),
    ("enter", -1),
    ("exit", -1, (None, None, None)),
    ("exit", 1, (None, None, None)),
]
