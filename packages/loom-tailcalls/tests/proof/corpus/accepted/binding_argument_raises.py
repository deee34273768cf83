"""An argument that raises leaves the parameters as they were and the exception at its own line."""

from subject import log, tailrec


@tailrec
async def f(n, acc=0):
    log(n, acc)
    return await f(
        n - 1,
        10 // n,
    )


async def main():
    return await f(2)
