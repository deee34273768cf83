"""`yield from` of something else at the end is no tail call."""

from subject import tailstream


@tailstream
def s(n):
    yield n
    if n == 1:
        yield from [10, 20]
        return
    if n:
        yield from s(n - 1)


def main():
    return list(s(3))
