"""Too many and missing arguments that only a spread can show are TypeErrors at the step that does
it.
"""

from subject import log, tailrec


@tailrec
async def f(n, acc=0):
    log(n)
    if n == 0:
        return acc
    if n == 2:
        return await f(*[1, 2, 3])
    return await f(*[n - 1])


@tailrec
async def g(n, *, key):
    log(n, key)
    return await g(n - 1, **({"key": key} if n > 1 else {}))


async def main():
    try:
        await f(4)
    except TypeError as error:
        log(str(error))
    try:
        await g(2, key="k")
    except TypeError as error:
        log(str(error))
