"""A `__call__` that calls itself through the instance."""

from subject import tailrec


class Machine:
    @tailrec
    async def __call__(self, n, acc=()):
        if n == 0:
            return acc
        return await self.__call__(n - 1, acc + (n,))


async def main():
    return await Machine()(3)
