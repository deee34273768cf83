"""Comprehensions run at once; they and their variables do not disturb the step's names."""

from subject import tailrec


@tailrec
async def f(n, acc=()):
    squares = [n * n for n in range(n)]
    pairs = {k: n for k in squares}
    if n == 0:
        return acc
    return await f(n - 1, acc + (sum(squares), len(pairs), max({n, *squares})))


async def main():
    return await f(4)
