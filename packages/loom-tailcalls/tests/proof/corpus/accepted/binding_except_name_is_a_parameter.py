"""`except ... as err` unbinds `err` when it ends; the argument of the next step is bound all the
same.
"""

from subject import tailrec


async def work(n):
    if n:
        raise ValueError(n)
    return "ok"


@tailrec
async def f(n, err=None):
    try:
        await work(n)
    except ValueError as err:
        caught = err.args
    else:
        return "ok", err
    return await f(n - 1, caught)


async def main():
    return await f(3)
