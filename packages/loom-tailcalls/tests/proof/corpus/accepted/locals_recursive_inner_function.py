"""An inner function that calls itself, and one that calls the outer one, keep their own step."""

from subject import tailrec


@tailrec
def f(n, acc=()):
    def fact(k):
        return n if k == 0 else k * fact(k - 1)

    if n == 0:
        return acc
    return f(n - 1, (*acc, fact(2)))


def main():
    return f(3)
