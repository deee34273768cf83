"""`global` writes go to the module, step by step."""

from subject import tailrec


CALLS = 0


@tailrec
async def count(n):
    global CALLS
    CALLS += 1
    if n == 0:
        return CALLS
    return await count(n - 1)


async def main():
    return await count(3), CALLS, globals()["CALLS"]
