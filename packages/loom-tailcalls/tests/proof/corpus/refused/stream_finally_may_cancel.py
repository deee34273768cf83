"""A `finally` around the delegating loop that can call the step off."""

from subject import tailstream


@tailstream
async def s(n):
    while True:
        yield n
        try:
            if n:
                async for x in s(n - 1):
                #              ^ LT020
                    yield x
                return
        finally:
            break
