"""An instance attribute that is the bound method of another instance."""

from subject import log, tailrec


class A:
    def __init__(self, name):
        self.name = name

    @tailrec
    async def run(self, n):
        log(self.name, n)
        if n == 0:
            return self.name
        return await self.run(n - 1)


async def main():
    one, two = A("one"), A("two")
    one.run = two.run
    return await A.run(one, 2)
