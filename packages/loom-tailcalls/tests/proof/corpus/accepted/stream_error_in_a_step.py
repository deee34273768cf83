"""An error in a later step reaches the consumer after the items before it."""
# reports: stream-delegation

from subject import log, tailstream


@tailstream
async def s(n):
    yield 6 // n
    async for x in s(n - 1):
        yield x


async def main():
    try:
        async for x in s(3):
            log(x)
    except ZeroDivisionError as error:
        return str(error)
