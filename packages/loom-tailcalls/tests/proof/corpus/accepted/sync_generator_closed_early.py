"""`close` and garbage collection of a plain generator in a late step run its `finally`."""

from subject import log, tailstream


@tailstream
def s(n):
    try:
        yield n
    finally:
        log("finally", n)
    yield from s(n - 1)


def main():
    it = s(3)
    next(it), next(it), next(it)
    it.close()
    other = s(9)
    next(other)
    del other
    return "end"
