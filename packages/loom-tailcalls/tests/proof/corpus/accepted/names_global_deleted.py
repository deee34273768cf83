"""A global that a step deletes is gone for the next one."""

from subject import tailrec


TOKEN = "here"


@tailrec
async def spend(n):
    global TOKEN
    if n == 1:
        del TOKEN
    if n == 0:
        return TOKEN
    return await spend(n - 1)


async def main():
    return await spend(2)
