"""A TypeError about a spread names the user's function, in every form the compiler chooses."""

from subject import log, tailrec

MADE = []


@tailrec
async def f(n, a=0):
    if n == 0:
        return a
    MADE.append(lambda: n)
    return await f(a=n, n=n - 1, **{"n": 1})


@tailrec
async def g(n, a=0):
    if n == 0:
        return a
    return await g(a=n, n=n - 1, **{"n": 1})


class C:
    @tailrec
    async def h(self, n, *rest, **extra):
        if n == 0:
            return rest
        if n % 2:
            return await self.h(n - 1, *5)
        return await self.h(n - 1, *rest, **extra, **{"k": 1})


async def main():
    for call, arguments in ((f, {}), (g, {}), (C().h, {"k": 0}), (C().h, {})):
        try:
            await call(2, **arguments)
        except TypeError as error:
            log(str(error))
