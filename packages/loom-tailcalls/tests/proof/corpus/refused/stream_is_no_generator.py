"""`@tailstream` is for generators."""

from subject import tailstream


@tailstream
async def s(n):
#^ LT008
    if n == 0:
        return n
    return await s(n - 1)
