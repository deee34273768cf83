"""A positional-only parameter given by keyword is refused or is Python's own TypeError."""

from subject import tailrec


@tailrec
async def f(n, k=0, /):
    if n == 0:
        return "end"
    return await f(n - 1, k=2)


async def main():
    return await f(2)
