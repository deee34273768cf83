"""A nested function made in one step keeps that step's local, also when the step rebinds it
later.
"""

from subject import tailrec


@tailrec
async def f(n, made=()):
    double = n * 2

    def show():
        return n, double

    double += 1
    if n == 0:
        return [call() for call in made]
    return await f(n - 1, (*made, show))


async def main():
    return await f(3)
