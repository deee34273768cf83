"""A cell two scopes out, shared with a sibling function, stays one cell."""

from subject import tailrec


def outer():
    box = []
    total = 0

    def middle():
        @tailrec
        async def f(n):
            nonlocal total
            total += n
            box.append(total)
            if n == 0:
                return list(box), total
            return await f(n - 1)

        return f

    def reset():
        nonlocal total
        total = 100

    return middle(), reset


async def main():
    f, reset = outer()
    first = await f(3)
    reset()
    return first, await f(1)
