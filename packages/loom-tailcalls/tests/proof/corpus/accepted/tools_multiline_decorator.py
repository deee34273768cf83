"""Comments between decorator and function, and a signature over several lines, keep the line
numbers.
"""

import traceback

from subject import tailrec


@tailrec  # a remark

# another
async def f(n,
            acc=(
                0,
            )):
    if n == 0: return 1 // n
    return await f(n - 1,
                   acc)


async def main():
    try:
        await f(1)
    except ZeroDivisionError as error:
        return traceback.extract_tb(error.__traceback__)[-1].lineno, f.__code__.co_firstlineno
