"""Spreads are evaluated in their place between the other arguments."""

from subject import log, tailrec


def t(value):
    log(value)
    return value


@tailrec
async def f(n, *rest, **kw):
    if n == 0:
        return rest, kw
    return await f(t(n - 1), *t((n, n)), t("p"), x=t("x"), **t({"y": n}), z=t("z"))


async def main():
    return await f(2)
