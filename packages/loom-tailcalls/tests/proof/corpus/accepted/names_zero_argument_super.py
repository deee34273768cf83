"""`super()` without arguments works in the first and in every later step."""

from subject import log, tailrec


class Base:
    async def value(self, n):
        return "base", n

    @tailrec
    async def walk(self, n, trail=()):
        if n == 0:
            return trail
        return await self.walk(n - 1, trail + (n,))


class Derived(Base):
    @tailrec
    async def value(self, n, seen=()):
        if n == 0:
            return seen
        return await self.value(n - 1, seen + (await super().value(n),))

    @tailrec
    async def walk(self, n, trail=()):
        log("derived", n)
        return await super().walk(n, trail) if n % 2 or n == 0 else await self.walk(n - 1, trail + ("even",))


async def main():
    return await Derived().value(3), await Derived().walk(4)
