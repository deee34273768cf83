"""A tail loop inside the user's own loops, with `else` and code behind."""
# reports: stream-delegation

from subject import collect, tailstream


@tailstream
async def s(n):
    while True:
        for i in range(2):
            yield n, i
            if n == 0:
                return
            if i:
                async for x in s(n - 1):
                    yield x
                return
        else:
            yield "never"
        yield "after"


async def main():
    return await collect(s(2))
