"""`del`, augmented assignments and swaps of parameters before the call."""

from subject import tailrec


@tailrec
async def f(n, a, b):
    a, b = b, a
    n -= 1
    a += n
    if n <= 0:
        return a, b
    kept = a
    del a
    return await f(n, b, kept)


async def main():
    return await f(4, 1, 2)
