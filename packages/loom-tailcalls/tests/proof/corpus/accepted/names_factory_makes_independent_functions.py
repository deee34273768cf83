"""Two functions made by a factory share a code object and nothing else."""

from subject import tailrec


def make(step, limit):
    @tailrec
    async def f(n, trail=()):
        if n >= limit:
            return trail
        return await f(n + step, trail + (n,))

    return f


async def main():
    a, b = make(2, 7), make(3, 7)
    return await a(0), await b(0), await a(1), a.__code__ is b.__code__ or a is not b
