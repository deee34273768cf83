"""A function put on a class afterwards, and one bound by hand."""

import types

from subject import tailrec


@tailrec
async def run(self, n):
    if n == 0:
        return type(self).__name__
    return await self.run(n - 1)


class A:
    run = run


class B:
    pass


async def main():
    b = B()
    b.run = types.MethodType(run, b)
    return await A().run(3), await b.run(2)
