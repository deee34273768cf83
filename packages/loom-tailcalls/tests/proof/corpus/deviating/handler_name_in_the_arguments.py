"""`except ... as err: return await f(n, err)`: the name goes away, the argument stays."""

from subject import tailrec


@tailrec
async def f(n, err=None):
    try:
        if n:
            raise ValueError(n)
        return repr(err)
    except ValueError as err:
        return await f(n - 1, err)  # deviates


async def main():
    return await f(3)


STEP = ("returned", "ValueError(1)")
STEP_EVENTS = []
