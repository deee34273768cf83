"""An import inside the body binds a local each step."""

from subject import tailrec


@tailrec
async def f(n, acc=0.0):
    import math as m
    from math import floor

    if n == 0:
        return floor(acc)
    return await f(n - 1, acc + m.sqrt(n))


async def main():
    return await f(9)
