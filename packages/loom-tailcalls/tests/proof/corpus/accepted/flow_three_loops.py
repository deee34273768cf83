"""A call three loops deep, of three kinds."""
# reports: iterator-released

from subject import log, tailrec


class Pairs:
    def __init__(self, n):
        self.n = n

    def __aiter__(self):
        self.at = 0
        return self

    async def __anext__(self):
        self.at += 1
        if self.at > 2:
            raise StopAsyncIteration
        return self.at


@tailrec
async def f(n):
    while True:
        for i in range(2):
            async for p in Pairs(n):
                log(n, i, p)
                if n == 0:
                    return "end"
                if i == 1:
                    return await f(n - 1)
            else:
                log("async else")


async def main():
    return await f(2)
