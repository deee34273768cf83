"""`exec` sees the frame."""

from subject import tailrec


@tailrec
async def f(n):
    exec("n = 0")
    #^ LT015
    if n == 0:
        return n
    return await f(n - 1)
