"""`continue` after an inner loop belongs to the user's own loop."""

from subject import log, tailrec


@tailrec
async def f(n):
    for i in range(3):
        for j in range(3):
            if j == 1:
                break
            if n > 0 and i == 2:
                return await f(n - 1)
        else:
            log("no break")
        if i == 0:
            continue
        log(n, i)
    return "end"


async def main():
    return await f(2)
