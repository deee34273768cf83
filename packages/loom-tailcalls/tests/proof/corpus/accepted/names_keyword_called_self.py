"""A parameter may have any name: `self` outside a class, `_`, `None_`, a keyword-only `f` of
another function.
"""

from subject import tailrec


@tailrec
async def step(self, _, *, cls=None, async_=0):
    if self == 0:
        return _, cls, async_
    return await step(self - 1, _=_ + 1, cls=self, async_=async_ + 1)


async def main():
    return await step(3, 0)
