"""A plain generator: `yield from f(...)` at the end."""

from subject import tailstream


@tailstream
def count(n):
    yield n
    if n:
        yield from count(n - 1)


def main():
    return list(count(3))


def deep():
    return sum(count(3000))


DEEP = 4501500
