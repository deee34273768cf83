"""Identifiers and strings outside ASCII, and columns after them."""

import traceback

from subject import tailrec


@tailrec
async def größe(ñ, 文=0):
    "é"; "日本", [1 // (ñ - 1)]
    if ñ == 0:
        return 文
    return await größe(ñ - 1, 文 + ñ)


async def main():
    try:
        await größe(3)
    except ZeroDivisionError as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return frame.lineno, frame.colno, frame.name
