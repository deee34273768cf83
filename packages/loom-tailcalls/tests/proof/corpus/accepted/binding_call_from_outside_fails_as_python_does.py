"""A wrong first call fails before any step, with the function's own name in the text."""

from subject import log, tailrec


class Client:
    @tailrec
    async def fetch(self, n, *, retry=True):
        if n == 0:
            return retry
        return await self.fetch(n - 1, retry=False)


@tailrec
async def f(n):
    if n == 0:
        return n
    return await f(n - 1)


def attempt(call):
    try:
        call()
    except TypeError as error:
        log(str(error))


def main():
    attempt(lambda: f())
    attempt(lambda: f(1, 2))
    attempt(lambda: f(m=1))
    attempt(lambda: Client().fetch())
    attempt(lambda: Client().fetch(1, False))
