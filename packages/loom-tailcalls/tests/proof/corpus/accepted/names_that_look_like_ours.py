"""Names like those a compiler might invent belong to the user."""

from subject import tailrec


@tailrec
async def f(n, _loom=0, __loom_next_0=1, again=2, self=3, result=4):
    loom_again = n
    if n == 0:
        return _loom, __loom_next_0, again, self, result, loom_again
    return await f(n - 1, _loom + 1, __loom_next_0 + 1, again=again + 1, self=self, result=result)


async def main():
    return await f(3)
