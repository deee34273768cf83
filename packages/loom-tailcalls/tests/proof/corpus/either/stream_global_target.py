"""The loop variable is a global: refused, or equal to the end."""

from subject import collect, tailstream


x = "unset"


@tailstream
async def s(n):
    global x
    yield n
    if n == 0:
        return
    async for x in s(n - 1):
        yield x
    return


async def main():
    return await collect(s(2)), x
