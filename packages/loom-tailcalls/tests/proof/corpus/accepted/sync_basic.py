"""A plain function: `return f(...)`."""

from subject import tailrec


@tailrec
def f(n, acc=0):
    if n == 0:
        return acc
    return f(n - 1, acc + n)


def main():
    return f(5), f(0, "kept")


def deep():
    return f(5000)


DEEP = 12502500
