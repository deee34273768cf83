"""McCarthy's 91: the inner call in an argument is no tail call; refused, or an ordinary call."""

from subject import tailrec


@tailrec
async def f91(n):
    if n > 100:
        return n - 10
    return await f91(await f91(n + 11))


async def main():
    return await f91(55)
