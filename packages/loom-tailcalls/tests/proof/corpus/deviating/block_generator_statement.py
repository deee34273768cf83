"""A plain generator that delegates inside a block, by a statement and a `return` behind it."""

from subject import log, tailstream


class Span:
    def __init__(self, n):
        self.n = n

    def __enter__(self):
        log("enter", self.n)

    def __exit__(self, *error):
        log("exit", self.n)


@tailstream
def f(n):
    if n <= 0:
        yield "end"
        return
    for _ in range(1):
        with Span(n):
            yield from f(n - 1)  # deviates
            return
    yield from f(n - 1)


def main():
    return list(f(2))


STEP = ("returned", ["end"])
STEP_EVENTS = [("enter", 2), ("exit", 2), ("enter", 1), ("exit", 1)]
