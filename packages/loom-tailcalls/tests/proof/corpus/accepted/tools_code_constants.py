"""Nested code objects keep their qualified names and first lines."""

from subject import tailrec


@tailrec
def f(n, made=None):
    def inner():
        class Local:
            def method(self):
                return n

        return Local

    if n == 0:
        return made
    return f(n - 1, inner)


def main():
    inner = f(2)
    return inner.__qualname__, inner.__code__.co_firstlineno, inner().__qualname__, inner().method.__qualname__, inner().__module__
