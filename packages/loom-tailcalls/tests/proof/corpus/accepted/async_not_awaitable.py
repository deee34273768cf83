"""The function's name bound to something that is not awaitable: Python's own TypeError at the
user's line.
"""

from subject import tailrec


@tailrec
async def f(n):
    if n == 1:
        global f
        f = len
    if n == 0:
        return "end"
    return await f("x" * n)if n < 2 else await f(n - 1)


async def main():
    return await f(3)
