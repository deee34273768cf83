"""What `finally` does to the parameters cannot change the arguments that were bound before."""

from subject import tailrec


@tailrec
async def f(n, acc=()):
    if n == 0:
        return acc
    try:
        return await f(n - 1, acc + (n,))  # deviates
    finally:
        n = 100
        acc = "lost"


async def main():
    return await f(3)


STEP = ("returned", (3, 2, 1))
STEP_EVENTS = []
