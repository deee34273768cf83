"""`async with`: `__aexit__` is awaited before the next step begins."""

import asyncio

from subject import log, tailrec


class Session:
    def __init__(self, n):
        self.n = n

    async def __aenter__(self):
        await asyncio.sleep(0)
        log("open", self.n)

    async def __aexit__(self, kind, error, tb):
        await asyncio.sleep(0)
        log("close", self.n, kind)


@tailrec
async def f(n):
    if n == 0:
        return "end"
    async with Session(n):
        return await f(n - 1)  # deviates


async def main():
    return await f(2)


STEP = ("returned", "end")
STEP_EVENTS = [("open", 2), ("close", 2, None), ("open", 1), ("close", 1, None)]
