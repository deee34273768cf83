"""Plain functions: `n * f(n - 1)`."""

from subject import tailrec


@tailrec
def factorial(n):
    if n == 0:
        return 1
    return n * factorial(n - 1)
    #          ^ LT011
