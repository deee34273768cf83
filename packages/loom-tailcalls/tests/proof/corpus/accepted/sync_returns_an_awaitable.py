"""A plain function that returns a coroutine of itself is not awaited by anybody but the caller."""

from subject import tailrec


@tailrec
def f(n):
    if n == 0:
        return "end"
    return f(n - 1) if n != 2 else f(n - 2)


def main():
    return f(6)
