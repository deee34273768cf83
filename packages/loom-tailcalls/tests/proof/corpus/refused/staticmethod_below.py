"""`@staticmethod` below the decorator hands it a descriptor."""
# code: LT001

from subject import tailrec


class C:
    @tailrec
    @staticmethod
    async def f(n):
        return await C.f(n - 1)
