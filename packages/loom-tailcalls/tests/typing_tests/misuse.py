"""Only type-checked: each line that ends with ``# error`` must be reported by both checkers, and no
other line.
"""

from loom import tailrec, tailstream, transition


@tailrec
async def total(n: int, *, scale: int = 1) -> int:
    if n == 0:
        return scale
    return await total(n - 1, scale=scale)


class Session:
    @tailrec
    async def run(self, n: int) -> int:
        if n == 0:
            return n
        return await self.run(n - 1)


async def misuse() -> None:
    await total("1")  # error
    await total()  # error
    await total(1, 2)  # error
    await total(1, scales=2)  # error
    await Session().run("1")  # error
    text: str = await total(1)  # error
    print(text)
    total(1) + 1  # error


tailrec(blocks="sometimes")  # error
tailrec(5)  # error
tailstream("text")  # error
transition(None)  # error
