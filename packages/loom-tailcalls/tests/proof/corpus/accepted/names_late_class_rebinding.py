"""`Class.method(obj, ...)` looks the class up when it is called."""

from subject import log, tailrec


class Counter:
    @tailrec
    async def run(self, n):
        log(type(self).__name__, n)
        if n == 0:
            return "old"
        if n == 2:
            global Counter
            Counter = Other
        return await Counter.run(self, n - 1)


class Other:
    async def run(self, n):
        return "other", n


async def main():
    return await Counter().run(4)
