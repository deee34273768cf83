"""Nested conditionals with `and` and `or` in both branches."""

from subject import tailrec


@tailrec
def f(n, s=""):
    return (
        (s or f(n - 2, "even")) if n % 2 == 0 and n < 4 else (n > 100 and s) or f(n - 1, s)
    )


def main():
    return f(7), f(2), f(3, "given")
