"""`asend` reaches the innermost step."""

from subject import log, tailstream


@tailstream
async def s(n):
    got = yield n
    log("got", n, got)
    if n == 0:
        return
    async for x in s(n - 1):  # deviates
        yield x
    return


async def main():
    stream = s(2)
    return [await stream.asend(None), await stream.asend("a"), await stream.asend("b")]


STEP = ("returned", [2, 1, 0])
STEP_EVENTS = [("got", 2, "a"), ("got", 1, "b")]
