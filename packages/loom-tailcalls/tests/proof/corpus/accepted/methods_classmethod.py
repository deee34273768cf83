"""`@classmethod` above `@tailrec`: the class stays the class it was called on."""

from subject import tailrec


class Base:
    @classmethod
    @tailrec
    async def run(cls, n):
        if n == 0:
            return cls.__name__
        return await cls.run(n - 1)


class Derived(Base):
    pass


async def main():
    return await Base.run(2), await Derived.run(3), await Derived().run(1)


async def deep():
    return await Derived.run(2000)


DEEP = "Derived"
