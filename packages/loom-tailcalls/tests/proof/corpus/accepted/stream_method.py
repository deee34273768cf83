"""A stream that is a method."""
# reports: stream-delegation

from subject import collect, tailstream


class Source:
    @tailstream
    async def events(self, n):
        yield n, type(self).__name__
        if n:
            async for event in self.events(n - 1):
                yield event


class Derived(Source):
    pass


async def main():
    return await collect(Derived().events(2))
