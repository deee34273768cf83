"""Docstring, constants and f-strings stay what they are."""

from subject import tailrec


@tailrec
async def f(n, text=""):
    """The docstring."""
    "not a docstring"
    line = f"{n!r:>3}|{text}" 'joined'
    if n == 0:
        return line, f.__doc__
    return await f(n - 1, line)


async def main():
    return await f(2)
