"""When the global name is rebound to another function in the middle of a run, that one is called
next.
"""

from subject import log, tailrec


@tailrec
async def f(n):
    log("f", n)
    if n == 3:
        global f
        f = replacement
    if n == 0:
        return "f"
    return await f(n - 1)


async def replacement(n):
    log("replacement", n)
    return "replacement", n


async def main():
    original = f
    return await original(5), await f(9)
