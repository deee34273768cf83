"""`__class__` is the class the method was written in."""

from subject import tailrec


class Base:
    @tailrec
    async def run(self, n):
        if n == 0:
            return __class__.__name__, type(self).__name__
        return await self.run(n - 1)


class Derived(Base):
    pass


async def main():
    return await Base().run(2), await Derived().run(2)
