"""A mutable default is the same object in every step that omits the argument."""

from subject import tailrec


@tailrec
async def f(n, seen=[]):
    seen.append(n)
    if n == 0:
        return list(seen), seen is f.__defaults__[0]
    return await f(n - 1)


async def main():
    return await f(3), await f(1)
