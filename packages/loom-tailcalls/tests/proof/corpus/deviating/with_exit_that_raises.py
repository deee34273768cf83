"""An error in `__exit__` ends the run before the next step."""

from subject import log, tailrec


class Fragile:
    def __init__(self, n):
        self.n = n

    def __enter__(self):
        return self

    def __exit__(self, *error):
        log("exit", self.n)
        if self.n == 2:
            raise RuntimeError("cannot close")


@tailrec
async def f(n):
    if n == 0:
        return "end"
    with Fragile(n):
        return await f(n - 1)  # deviates


async def main():
    return await f(3)


STEP = ("raised", "RuntimeError: cannot close")
STEP_EVENTS = [("exit", 3), ("exit", 2)]
