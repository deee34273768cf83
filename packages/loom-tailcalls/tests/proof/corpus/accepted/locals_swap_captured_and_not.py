"""One parameter captured and constant, one captured and changing, one not captured."""

from subject import tailrec


@tailrec
def f(n, constant, plain, made=()):
    if n == 0:
        return [call() for call in made], plain
    return f(n - 1, constant, plain + 1, (*made, lambda: (constant, n)))


def main():
    return f(3, "c", 0)
