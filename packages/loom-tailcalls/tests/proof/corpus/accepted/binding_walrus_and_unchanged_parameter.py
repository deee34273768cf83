"""`f(x, (x := 1))`: the first argument has the old value, though it looks unchanged."""

from subject import tailrec


@tailrec
async def f(x, y, n):
    if n == 0:
        return x, y
    return await f(x, (x := x + 1), n - 1)


async def main():
    return await f(0, 0, 1), await f(0, 0, 2)
