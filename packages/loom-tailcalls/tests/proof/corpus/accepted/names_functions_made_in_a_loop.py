"""Functions made by one `def` in a loop each keep the enclosing variable as Python does: one shared
cell.
"""

from subject import tailrec


async def main():
    made = []
    for k in range(3):

        @tailrec
        async def f(n, acc=0):
            if n == 0:
                return acc
            return await f(n - 1, acc + k)

        made.append(f)
    return [await g(2) for g in made]
