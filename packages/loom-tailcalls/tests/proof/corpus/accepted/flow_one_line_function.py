"""The whole function on one line."""

from subject import log, tailrec


@tailrec
async def f(n): return "end" if n == 0 else await f(n - 1)


@tailrec
async def g(n): log(n); return await g(n - 1) if n else "g"


async def main():
    return await f(3), await g(2)
