"""`return (yield from f(...))` hands the value of the last step to the caller."""

from subject import tailstream


@tailstream
def walk(n, acc=()):
    got = yield n
    acc += (got,)
    if n == 0:
        return acc
    return (yield from walk(n - 1, acc))


def main():
    it = walk(3)
    out = [next(it)]
    try:
        while True:
            out.append(it.send(len(out)))
    except StopIteration as stop:
        return out, stop.value
