"""The name of an `except ... as` clause is unbound after the clause, in this step and in the
next.
"""

from subject import log, tailrec


@tailrec
async def f(n):
    try:
        if n == 2:
            raise KeyError(n)
    except KeyError as problem:
        log(repr(problem))
    if n == 0:
        return problem
    return await f(n - 1)


async def main():
    return await f(3)
