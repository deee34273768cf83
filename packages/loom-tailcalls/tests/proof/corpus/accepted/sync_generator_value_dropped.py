"""`yield from f(...)` as the last statement drops the value: the caller gets None."""

from subject import log, tailstream


@tailstream
def walk(n):
    yield n
    if n == 0:
        return "value of the last step"
    yield from walk(n - 1)


def main():
    def outer():
        got = yield from walk(2)
        log("got", got)

    return list(outer())
