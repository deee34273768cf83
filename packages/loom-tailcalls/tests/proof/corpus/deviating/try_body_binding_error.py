"""An argument list that does not fit fails inside the block, where recursion fails too."""

from subject import log, tailrec


@tailrec
async def f(n, acc=0):
    if n == 0:
        return acc
    try:
        return await f(n - 1, **{"acc": acc + 1, "nope": n} if n == 2 else {"acc": acc + 1})  # deviates
    except TypeError as error:
        log(str(error))
        return "after the error", n


async def main():
    return await f(4)


STEP = ("returned", ("after the error", 2))
STEP_EVENTS = ["f() got an unexpected keyword argument 'nope'"]
