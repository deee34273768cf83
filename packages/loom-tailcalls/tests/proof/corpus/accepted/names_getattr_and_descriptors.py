"""`__getattr__`, `__getattribute__` and descriptors see each lookup once per step."""

from subject import log, tailrec


class Watched:
    def __getattribute__(self, name):
        log("get", name)
        return object.__getattribute__(self, name)

    @tailrec
    async def run(self, n):
        if n == 0:
            return "end"
        return await self.run(n - 1)


class Lazy:
    def __getattr__(self, name):
        log("lazy", name)
        return self._run

    @tailrec
    async def _run(self, n):
        if n == 0:
            return "lazy end"
        return await self._run(n - 1) if n % 2 else await self.missing(n - 1)


async def main():
    return await Watched().run(2), await Lazy()._run(3)
