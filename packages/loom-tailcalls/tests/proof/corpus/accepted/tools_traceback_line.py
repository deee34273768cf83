"""The traceback of an error in a late step names the user's file, line, function and text."""

import traceback

from subject import tailrec


@tailrec
async def f(n):
    # a comment line
    if n == 0:
        return 1 // n
    return await f(n - 1)


async def main():
    try:
        await f(2)
    except ZeroDivisionError as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return frame.lineno, frame.colno, frame.end_colno, frame.line, frame.name, frame.filename == __file__
