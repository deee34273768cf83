"""A call inside a nested function is that function's own business."""

from subject import tailrec


@tailrec
async def f(n, again=None):
    if n == 0:
        return await again() if again else "end"

    async def later():
        return await f(0)

    return await f(n - 1, later)


async def main():
    return await f(2)
