"""A free variable that the enclosing function assigns after the decoration is read through its
cell.
"""

from subject import tailrec


async def main():
    @tailrec
    async def total(n, acc=0):
        if n == 0:
            return acc, bonus
        return await total(n - 1, acc + scale(n))

    bonus = "first"

    def scale(n):
        return n * 3

    first = await total(3)
    bonus = "second"
    return first, await total(1)
