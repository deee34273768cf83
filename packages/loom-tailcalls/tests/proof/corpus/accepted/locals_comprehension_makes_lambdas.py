"""Lambdas made inside a comprehension capture the comprehension's variable and the step's
parameter.
"""

from subject import tailrec


@tailrec
async def f(n, made=()):
    if n == 0:
        return [call() for call in made]
    return await f(n - 1, made + tuple([lambda: (i, n) for i in range(2)]))


async def main():
    return await f(2)
