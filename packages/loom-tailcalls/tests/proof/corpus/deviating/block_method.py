"""A method that locks per step."""

from subject import log, tailrec


class Session:
    def __init__(self):
        self.open = 0

    def __enter__(self):
        self.open += 1
        log("open", self.open)
        return self

    def __exit__(self, *error):
        self.open -= 1

    @tailrec
    async def run(self, n):
        with self:
            if n == 0:
                return self.open
            return await self.run(n - 1)  # deviates


async def main():
    return await Session().run(2)


STEP = ("returned", 1)
STEP_EVENTS = [("open", 1), ("open", 1), ("open", 1)]
