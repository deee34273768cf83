"""A private class in a function: mangling and free variables at once."""

from subject import tailrec


def make(k):
    class __Box:
        def __init__(self):
            self.__value = k

        @tailrec
        async def get(self, n):
            if n == 0:
                return self.__value + k
            return await self.get(n - 1)

    return __Box()


async def main():
    return await make(5).get(3), await make(6).get(1)
