"""A captured parameter that no step changes."""

from subject import tailrec


@tailrec
async def f(n, k, made=()):
    if n == 0:
        return [call() for call in made]
    return await f(n - 1, k, made + ((lambda: k),))


async def main():
    return await f(3, "K")
