"""Private names are mangled with the class they were written in, also for calls, keywords and
attributes.
"""

from subject import tailrec


class _Machine:
    __step = 2

    def __init__(self):
        self.__seen = []

    @tailrec
    async def run(self, n, __acc=0):
        self.__seen.append(n)
        if n <= 0:
            return __acc, self.__seen
        return await self.run(n - self.__step, __acc + 1)

    @tailrec
    async def __hidden(self, n):
        if n == 0:
            return "hidden", sorted(name for name in type(self).__dict__ if "hidden" in name)
        return await self.__hidden(n - 1)

    async def hidden(self):
        return await self.__hidden(3)


async def main():
    return await _Machine().run(6), await _Machine().hidden()
