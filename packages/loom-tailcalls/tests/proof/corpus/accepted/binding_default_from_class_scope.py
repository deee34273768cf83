"""A default may use a name of the class body."""

from subject import tailrec


class Poll:
    every = 3

    @tailrec
    async def run(self, n, every=every):
        if n <= 0:
            return n, every
        return await self.run(n - every)


async def main():
    return await Poll().run(7)
