"""Pickling by name, `copy` and `deepcopy` give the same function."""

import copy
import pickle

from subject import tailrec


@tailrec
async def f(n):
    if n == 0:
        return "end"
    return await f(n - 1)


class C:
    @tailrec
    async def g(self, n):
        if n == 0:
            return "end"
        return await self.g(n - 1)


async def main():
    return (
        pickle.loads(pickle.dumps(f)) is f,
        pickle.loads(pickle.dumps(C.g)) is C.g,
        copy.copy(f) is f,
        copy.deepcopy([f])[0] is f,
    )
