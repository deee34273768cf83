"""A default keeps the value it had at definition, not the value its expression would have now."""

from subject import tailrec


BASE = 10


@tailrec
async def f(n, base=BASE):
    if n == 0:
        return base
    return await f(n - 1)


BASE = 99


async def main():
    return await f(2), await f(2, 5)
