"""`return await self.method(...)`: looked up on the instance in every step."""

from subject import tailrec


class Session:
    def __init__(self):
        self.seen = []

    @tailrec
    async def run(self, n):
        self.seen.append(n)
        if n == 0:
            return self.seen
        return await self.run(n - 1)


async def main():
    return await Session().run(3), await Session.run(Session(), 2)


async def deep():
    return len(await Session().run(3000))


DEEP = 3001
