"""An `else` of an inner loop that tail-calls from inside an outer loop with its own `else`."""

from subject import log, tailrec


@tailrec
async def f(n):
    for i in range(2):
        for j in range(2):
            if n == 9:
                break
        else:
            log("inner else", n, i)
            if n > 0 and i == 1:
                return await f(n - 1)
    else:
        log("outer else", n)
        return "end"


async def main():
    return await f(2), await f(9)
