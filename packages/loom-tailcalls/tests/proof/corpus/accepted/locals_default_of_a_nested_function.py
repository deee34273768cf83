"""A nested function's default takes the value at once."""

from subject import tailrec


@tailrec
async def f(n, made=()):
    if n == 0:
        return [call() for call in made]
    return await f(n - 1, made + ((lambda n=n: n),))


async def main():
    return await f(3)
