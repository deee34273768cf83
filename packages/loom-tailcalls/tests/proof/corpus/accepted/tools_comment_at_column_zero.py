"""Comments and continuation lines at column 0 inside a method."""

from subject import tailrec


class C:
    @tailrec
    async def f(self, n,
k=(
1
)):
        if n == 0:
            return "end"
# an old remark
        return await self.f(n - k[0] if isinstance(k, tuple) else
n - 1)


async def main():
    return await C().f(1)
