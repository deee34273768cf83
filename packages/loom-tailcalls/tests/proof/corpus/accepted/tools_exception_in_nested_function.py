"""The line of an error in a nested function, a lambda and a comprehension of a late step."""

import traceback

from subject import log, tailrec


@tailrec
def f(n, which):
    def inner():
        return 1 // n

    if n == 0:
        if which == "def":
            inner()
        if which == "lambda":
            (lambda: 1 // n)()
        return [
            1 // n
            for _ in range(1)
        ]
    return f(n - 1, which)


def main():
    for which in ("def", "lambda", "comprehension"):
        try:
            f(2, which)
        except ZeroDivisionError as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            log(last.lineno, last.name.replace("<listcomp>", "f"), last.colno)
