"""Methods with spreads and keyword-only parameters."""

from subject import log, tailrec


class Session:
    @tailrec
    async def run(self, n, /, *items, key="k", **more):
        log(n, items, key, more)
        if n == 0:
            return "end"
        return await self.run(n - 1, *items, n, key=key + "k", **more, **{f"x{n}": n})


async def main():
    return await Session().run(2, "a", more=1)
