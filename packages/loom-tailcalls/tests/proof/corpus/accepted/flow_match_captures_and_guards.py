"""Captures of a failed guard stay bound in this step and not in the next."""

from subject import tailrec


@tailrec
def f(n, seen=()):
    match n, seen:
        case (value, _) if value > 100:
            return "never"
        case (0, _):
            return seen, value
        case (_, [*head, last]) if last == n + 1:
            return f(n - 1, (*head, last, n))
    return f(n - 1, (*seen, n))


def main():
    return f(3)
