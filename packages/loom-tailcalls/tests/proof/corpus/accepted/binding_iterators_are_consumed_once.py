"""A spread iterator is consumed exactly once, in its place."""

from subject import log, tailrec


def numbers(n):
    for value in range(n):
        log("next", value)
        yield value


class Mapping:
    def __init__(self, **values):
        self.values = values

    def keys(self):
        log("keys")
        return list(self.values)

    def __getitem__(self, key):
        log("item", key)
        return self.values[key]


@tailrec
async def f(n, *rest, k=0, **kw):
    if n == 0:
        return rest, k, kw
    return await f(n - 1, *numbers(2), **Mapping(k=n, z=n))


async def main():
    return await f(2)
