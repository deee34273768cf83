"""`return await super().run(...)` is a call of another function."""

from subject import tailrec


class Base:
    async def run(self, n):
        return "base", n


class Derived(Base):
    @tailrec
    async def run(self, n):
        if n == 0:
            return await super().run(n)
        return await self.run(n - 1)


async def main():
    return await Derived().run(3)
