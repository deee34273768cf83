"""A local that only an earlier step assigned is unbound now, with Python's own error."""

from subject import tailrec


@tailrec
async def f(n):
    if n == 2:
        x = "stale"
    if n == 0:
        return x
    return await f(n - 1)


async def main():
    return await f(3)
