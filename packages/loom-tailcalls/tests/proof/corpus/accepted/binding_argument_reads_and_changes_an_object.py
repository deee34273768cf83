"""Effects inside the arguments happen once and in order."""

from subject import tailrec


@tailrec
async def f(queue, out):
    if not queue:
        return out
    return await f(queue, [*out, queue.pop(), len(queue)])


async def main():
    return await f([1, 2, 3], [])
