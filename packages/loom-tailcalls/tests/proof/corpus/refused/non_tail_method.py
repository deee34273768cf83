"""Methods: a call of `self.f` outside tail position."""

from subject import tailrec


class C:
    @tailrec
    async def f(self, n):
        if n == 0:
            return 0
        return -(await self.f(n - 1))
        #              ^ LT011
