"""`@staticmethod` above `@tailrec`: called through the class."""

from subject import tailrec


class Tools:
    @staticmethod
    @tailrec
    async def run(n, acc=0):
        if n == 0:
            return acc
        return await Tools.run(n - 1, acc + n)


async def main():
    return await Tools.run(3), await Tools().run(4)


async def deep():
    return await Tools.run(2000)


DEEP = 2001000
