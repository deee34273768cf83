"""`locals()` would see the compiler's doings: refused, or equal."""

from subject import tailrec


@tailrec
async def f(n, acc=0):
    if n == 0:
        return acc
    return await f(**{**locals(), "n": n - 1, "acc": acc + n})


async def main():
    return await f(4)
