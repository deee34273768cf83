"""Used as a plain call, the decorator leaves the original alone; a call of the old name is still
the old function.
"""

from subject import tailrec


async def f(n, acc=0):
    if n == 0:
        return acc
    return await f(n - 1, acc + n)


g = tailrec(f)


async def main():
    return await g(4), await f(4), g is not None, f.__name__, g.__name__
