"""An annotation is evaluated by Python at definition, once."""

from subject import log, tailrec


def seen(what):
    log("annotation", what)
    return what


@tailrec
async def f(n: seen(int), *, k: seen(str) = "k") -> seen(tuple):
    if n == 0:
        return k
    return await f(n - 1)


async def main():
    return await f(2, k="x"), sorted(f.__annotations__)
