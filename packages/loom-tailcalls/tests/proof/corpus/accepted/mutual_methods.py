"""Methods of one class in one group."""
# exact: refused

from subject import tailrec


class Protocol:
    def __init__(self):
        self.trail = []

    @tailrec(group="protocol")
    async def listen(self, n):
        self.trail.append(("listen", n))
        if n == 0:
            return self.trail
        return await self.speak(n - 1, "word")

    @tailrec(group="protocol")
    async def speak(self, n, word):
        self.trail.append((word, n))
        return await self.listen(n)


async def main():
    return await Protocol().listen(2)


async def deep():
    return len(await Protocol().listen(2000))


DEEP = 4001
