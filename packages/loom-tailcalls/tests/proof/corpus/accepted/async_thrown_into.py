"""`coroutine.throw` reaches the step that waits."""

import types

from subject import tailrec


@types.coroutine
def pause(value):
    return (yield value)


@tailrec
async def f(n, acc=()):
    try:
        got = await pause(n)
    except KeyError as error:
        got = repr(error)
    if n == 0:
        return acc + (got,)
    return await f(n - 1, acc + (got,))


def main():
    c = f(2)
    out = [c.send(None), c.send("one"), c.throw(KeyError("two"))]
    try:
        c.send("three")
    except StopIteration as stop:
        return out, stop.value
