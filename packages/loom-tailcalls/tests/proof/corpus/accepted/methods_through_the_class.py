"""`Class.method(self, ...)` spelled out."""

from subject import tailrec


class Session:
    @tailrec
    async def run(self, n):
        if n == 0:
            return type(self).__name__
        return await Session.run(self, n - 1)


class Derived(Session):
    pass


async def main():
    return await Derived().run(3)


async def deep():
    return await Derived().run(2000)


DEEP = "Derived"
