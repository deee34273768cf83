"""An error inside a multi-line argument list is at its own line."""

import traceback

from subject import tailrec


@tailrec
async def f(n, acc=0, *, key=None):
    if n < -5:
        return acc
    return await f(
        n - 1,
        key=[
            n,
            1 // n,
        ],
    )


async def main():
    try:
        await f(2)
    except ZeroDivisionError as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return frame.lineno, frame.colno, frame.line
