"""A consumer that stops in the middle."""
# reports: stream-delegation

from subject import tailstream


@tailstream
async def s(n):
    yield n
    async for x in s(n + 1):
        yield x


async def main():
    out = []
    stream = s(0)
    async for x in stream:
        out.append(x)
        if x == 5:
            break
    await stream.aclose()
    return out
