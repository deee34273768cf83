"""A nested function that rebinds a local of its step rebinds only that step's."""

from subject import tailrec


@tailrec
async def f(n, made=()):
    count = n

    def bump():
        nonlocal count, n
        count += 1
        n += 100
        return count, n

    if n == 0:
        return [(call(), call()) for call in made]
    bump()
    return await f(n - 101, made + (bump,))


async def main():
    return await f(303)
