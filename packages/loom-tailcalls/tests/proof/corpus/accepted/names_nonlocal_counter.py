"""`nonlocal` writes the enclosing function's own cell."""

from subject import tailrec


def make():
    calls = 0

    @tailrec
    async def f(n):
        nonlocal calls
        calls += 1
        if n == 0:
            return calls
        return await f(n - 1)

    def seen():
        return calls

    return f, seen


async def main():
    f, seen = make()
    g, other = make()
    return await f(3), seen(), await f(1), seen(), await g(0), other()
