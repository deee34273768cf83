"""Something behind the tail loop: not a tail loop; refused, or equal."""

from subject import collect, tailstream


@tailstream
async def s(n):
    yield n
    if n == 0:
        return
    async for x in s(n - 1):
        yield x
    else:
        yield "else", n
    return


async def main():
    return await collect(s(2))
