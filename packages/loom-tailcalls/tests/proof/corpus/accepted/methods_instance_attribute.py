"""An attribute on the instance that hides the method is called instead."""

from subject import log, tailrec


class Session:
    @tailrec
    async def run(self, n):
        log(n)
        if n == 2:
            self.run = self.stop
        if n == 0:
            return "end"
        return await self.run(n - 1)

    async def stop(self, n):
        return "stopped", n


async def main():
    return await Session().run(4)
