"""Many parameters of every kind at once, some changed, some not, some omitted."""

from subject import log, tailrec


@tailrec
async def f(a, b=1, /, c=2, *more, d, e=4, **rest):
    log(a, b, c, more, d, e, sorted(rest.items()))
    if a == 0:
        return "end"
    if a == 1:
        return await f(a - 1, d=d)
    if a == 2:
        return await f(a - 1, b, c, "m", d=d + 1, e=e, z=1)
    return await f(a - 1, *(7, 8, 9), d=e, a="keyword a", b="keyword b")


async def main():
    return await f(4, d=0)
