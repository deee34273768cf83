"""One parameter given twice is refused at decoration or is Python's own TypeError when it
happens.
"""

from subject import tailrec


@tailrec
async def f(n, k=0):
    if n == 0:
        return "end"
    return await f(n - 1, n=2)


async def main():
    return await f(2)
