"""Chained comparisons, starred tuples, slices and f-strings in the arguments."""

from subject import tailrec


@tailrec
async def f(n, data=(), text=""):
    if not 0 < n < 10:
        return *data, text
    return await f(n - 1, (*data[-2:], n), f"{text}{n!r:>2}{'x' * n:.{n}}")


async def main():
    return await f(4)
