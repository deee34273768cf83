"""Per-step closures at a depth that recursion cannot reach."""

from subject import tailrec


@tailrec
def f(n, call=None):
    below = call
    if n == 0:
        return call(), call.__closure__ is not None
    return f(n - 1, (lambda: n if below is None else n))


def main():
    return f(5)


def deep():
    return f(5000)


DEEP = (1, True)
