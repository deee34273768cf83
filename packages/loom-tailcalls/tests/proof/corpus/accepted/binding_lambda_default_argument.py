"""An argument that is a lambda with a default, and one that is a conditional expression with a
walrus.
"""

from subject import tailrec


@tailrec
async def f(n, call=None, last=0):
    if n == 0:
        return call(), last
    return await f(n - 1, lambda n=n: n, last=(kept if (kept := n) > 1 else -1))


async def main():
    return await f(3)
