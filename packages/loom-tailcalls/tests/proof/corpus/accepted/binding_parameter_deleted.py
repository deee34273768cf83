"""A parameter that was deleted is bound again by the next step, and unbound for the rest of this
one.
"""

from subject import log, tailrec


@tailrec
async def f(n, big=None):
    m = n
    del big, n
    if m == 0:
        return "end"
    try:
        n
    except UnboundLocalError as error:
        log(str(error)[:40])
    return await f(m - 1, [m])


async def main():
    return await f(3)
