"""`x += 1` before any assignment in this step fails in every step but those that assign."""

from subject import log, tailrec


@tailrec
async def f(n):
    if n >= 2:
        x = 10
    try:
        x += 1
        log("has x", x)
    except UnboundLocalError:
        log("no x", n)
    if n == 0:
        return "end"
    return await f(n - 1)


async def main():
    return await f(3)
