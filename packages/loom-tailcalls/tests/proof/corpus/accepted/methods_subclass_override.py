"""A subclass that overrides the method sees every step."""

from subject import log, tailrec


class Base:
    @tailrec
    async def run(self, n):
        log("base", n)
        if n == 0:
            return "end"
        return await self.run(n - 1)


class Override(Base):
    async def run(self, n):
        log("override", n)
        return await super().run(n)


class OverrideToo(Base):
    @tailrec
    async def run(self, n):
        log("tailrec override", n)
        if n > 2:
            return await self.run(n - 1)
        return await super().run(n)


async def main():
    return await Override().run(2), await OverrideToo().run(3)
