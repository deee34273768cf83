"""Leaving two loops skips what follows them in this step."""

from subject import log, tailrec


@tailrec
async def f(n):
    for i in range(2):
        for j in range(2):
            log(n, i, j)
            if n == 0:
                return "end"
            if i and j:
                return await f(n - 1)
        log("after inner", i)
    log("after outer")
    return "fell out"


async def main():
    return await f(2)
