"""A lambda that mentions the function is no tail call."""

from subject import tailrec


@tailrec
async def f(n, call=None):
    if n == 0:
        return call.__name__ if call else "none"
    return await f(n - 1, lambda k: f(k))


async def main():
    return await f(2)
