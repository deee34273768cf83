"""Each step owns its **kwargs dictionary, even when it was spread from the last one."""

from subject import tailrec


@tailrec
async def f(n, kept=(), **kw):
    kw["mark"] = n
    if n == 0:
        return [sorted(k.items()) for k in kept]
    return await f(n - 1, kept + (kw,), **kw)


async def main():
    return await f(2, z=1)
