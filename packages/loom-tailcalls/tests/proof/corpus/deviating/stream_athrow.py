"""`athrow` reaches the innermost step, as `yield from` would hand it on; recursion raises it in the
outer one.
"""

from subject import tailstream


@tailstream
async def s(n):
    try:
        yield n
    except ValueError:
        yield "recovered", n
    if n == 0:
        return
    async for x in s(n - 1):  # deviates
        yield x
    return


async def main():
    stream = s(2)
    out = [await stream.asend(None), await stream.asend(None)]
    try:
        out.append(await stream.athrow(ValueError("thrown")))
    except ValueError:
        out.append("outer raised")
    return out


STEP = ("returned", [2, 1, ("recovered", 1)])
STEP_EVENTS = []
