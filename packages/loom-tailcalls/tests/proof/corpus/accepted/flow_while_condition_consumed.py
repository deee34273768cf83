"""The loop condition is evaluated again in each step and never once more."""

from subject import log, tailrec


def more(items):
    log("asked", len(items))
    return bool(items)


@tailrec
async def f(items):
    while more(items):
        if items.pop() == "next":
            return await f(items)
    return "empty"


async def main():
    return await f(["a", "next", "b", "next"])
