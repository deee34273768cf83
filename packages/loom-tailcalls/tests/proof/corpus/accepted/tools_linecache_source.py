"""Source that only `linecache` knows (a notebook cell) is enough."""

import linecache

from subject import tailrec


CELL = '''from subject import tailrec
@tailrec
async def cell(n):
    if n == 0:
        return "cell", 1 // n
    return await cell(n - 1)
'''


async def main():
    linecache.cache["<cell 7>"] = (len(CELL), None, CELL.splitlines(True), "<cell 7>")
    space = {"__name__": "__cell__"}
    exec(compile(CELL, "<cell 7>", "exec"), space)
    try:
        await space["cell"](3)
    except ZeroDivisionError as error:
        import traceback

        frame = traceback.extract_tb(error.__traceback__)[-1]
        return frame.filename, frame.lineno, frame.line
