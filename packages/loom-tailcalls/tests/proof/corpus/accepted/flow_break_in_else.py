"""`break` inside a loop's `else` leaves the outer loop."""

from subject import log, tailrec


@tailrec
async def f(n):
    while True:
        for i in range(n):
            pass
        else:
            log("else", n)
            if n:
                return await f(n - 1)
            break
    return "end"


async def main():
    return await f(3)
