"""A class body in a step reads the step's locals and globals in its own order."""

from subject import tailrec


x = "global"


@tailrec
async def f(n, seen=()):
    y = n

    class Body:
        y = y
        z = [y for _ in range(1)]
        x = x

    if n == 0:
        return seen
    return await f(n - 1, (*seen, (Body.y, Body.z, Body.x)))


async def main():
    return await f(2)
