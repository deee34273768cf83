"""A global that hides a builtin is used from the moment it exists."""

from subject import tailrec


@tailrec
async def f(n, acc=()):
    if n == 0:
        return acc
    if n == 2:
        globals()["len"] = lambda _: "hidden"
    return await f(n - 1, acc + (len("abc"),))


async def main():
    try:
        return await f(3)
    finally:
        globals().pop("len", None)
