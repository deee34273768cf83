"""`del` of a local that only an earlier step assigned fails as in recursion."""

from subject import tailrec


@tailrec
async def f(n):
    if n > 1:
        scratch = n
    if n == 0:
        del scratch
        return "deleted"
    return await f(n - 1)


async def main():
    return await f(3)
