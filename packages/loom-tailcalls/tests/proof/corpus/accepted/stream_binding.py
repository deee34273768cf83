"""Spreads, keywords and omitted defaults in streams."""
# reports: stream-delegation

from subject import collect, tailstream


@tailstream
async def s(n, *items, sep="-", **kw):
    yield n, items, sep, kw
    if n == 0:
        return
    async for x in s(n - 1, *items, n, **{**kw, f"k{n}": n}):
        yield x


async def main():
    return await collect(s(2, sep="+"))
