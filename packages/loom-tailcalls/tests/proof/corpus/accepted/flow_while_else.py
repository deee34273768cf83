"""`while ... else` with a tail call in the `else`, and `break` past it."""

from subject import tailrec


@tailrec
async def f(n, acc=0):
    k = n
    while k > 0:
        k -= 2
        if k == 3:
            break
    else:
        if n == 0:
            return acc
        return await f(n - 1, acc + 1)
    return "odd", n, acc


async def main():
    return await f(4), await f(5), await f(0)
