"""A block around the tail loop of a stream is left before the next step."""

from subject import collect, log, tailstream


class Span:
    def __init__(self, n):
        self.n = n

    def __enter__(self):
        log("enter", self.n)

    def __exit__(self, *error):
        log("exit", self.n)


@tailstream
async def s(n):
    yield n
    if n == 0:
        return
    with Span(n):
        async for x in s(n - 1):  # deviates
            yield x
        return


async def main():
    return await collect(s(2))


STEP = ("returned", [2, 1, 0])
STEP_EVENTS = [("enter", 2), ("exit", 2), ("enter", 1), ("exit", 1)]
