"""An inner function that has the outer's name shadows it inside, and only there."""

from subject import log, tailrec


@tailrec
async def f(n):
    async def g(m):
        log("g", m)

        @tailrec
        async def f(k):
            log("inner f", k)
            if k == 0:
                return "inner"
            return await f(k - 1)

        return await f(m)

    log("outer f", n)
    if n == 0:
        return await g(2)
    return await f(n - 1)


async def main():
    return await f(2)
