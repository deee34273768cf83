"""`f(n - 1, a=...)` where `a` is positional-only and there is `**kw`."""

from subject import tailrec


@tailrec
async def f(n, a=0, /, *, b=1, **kw):
    if n == 0:
        return a, b, kw
    return await f(n - 1, a + 1, b=b, a=a, n=n)


async def main():
    return await f(3, a="given")
