"""Inside a method the bare name is the global function, not the method."""

from subject import tailrec


async def fetch(self, x):
    return "global", x


class Client:
    @tailrec
    async def fetch(self, x, again=True):
        if again:
            return await self.fetch(x + 1, False)
        return await fetch(self, x)


async def main():
    return await Client().fetch(7)
