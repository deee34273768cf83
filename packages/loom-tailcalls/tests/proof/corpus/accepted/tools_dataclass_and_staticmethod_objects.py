"""`typing.final`, `override`-like markers and `staticmethod` objects above."""

import typing

from subject import tailrec


class C:
    @typing.final
    @tailrec
    async def run(self, n):
        if n == 0:
            return "end"
        return await self.run(n - 1)


async def main():
    return await C().run(3), C.run.__final__
