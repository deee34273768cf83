"""A default may use a local of the enclosing function that is no free variable of the body."""

from subject import tailrec


def make(step):
    @tailrec
    async def f(n, s=step):
        if n <= 0:
            return n, s
        return await f(n - s)

    return f


async def main():
    return await make(2)(5), await make(3)(5)
