"""A class made in a step keeps the step's variables in its methods."""

from subject import tailrec


@tailrec
async def f(n, made=()):
    class Step:
        size = n

        def get(self):
            return n, self.size

    if n == 0:
        return [c().get() for c in made]
    return await f(n - 1, (*made, Step))


async def main():
    return await f(3)
