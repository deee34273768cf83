"""The receiver expression is evaluated once per step, before the arguments."""

from subject import log, tailrec


class Session:
    @property
    def me(self):
        log("me")
        return self

    @tailrec
    async def run(self, n):
        if n == 0:
            return "end"
        return await self.me.run(self.tell(n))

    def tell(self, n):
        log("argument")
        return n - 1


async def main():
    return await Session().run(2)
