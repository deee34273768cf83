"""`__context__` of an error in a later step does not name the error an earlier step handled."""

from subject import tailrec


@tailrec
async def f(n):
    if n == 0:
        raise KeyError("last")
    try:
        raise ValueError(n)
    except ValueError:
        return await f(n - 1)  # deviates


async def main():
    try:
        await f(2)
    except KeyError as error:
        return repr(error.__context__)


STEP = ("returned", "None")
STEP_EVENTS = []
