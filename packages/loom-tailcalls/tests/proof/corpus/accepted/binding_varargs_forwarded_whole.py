"""Everything handed on with `*args, **kwargs` arrives whole."""

from subject import tailrec


@tailrec
async def f(*args, **kwargs):
    n = kwargs["n"]
    if n == 0:
        return args, kwargs
    return await f(*args, n, **{**kwargs, "n": n - 1})


async def main():
    return await f(n=3), await f("a", n=1, extra=True)
