"""`**` of something that is no mapping, `*` of something that is not iterable: Python's own
words.
"""

from subject import log, tailrec


@tailrec
async def f(n, what, *args, **kw):
    if n == 0:
        return args, kw
    if what == "mapping":
        return await f(n - 1, what, **5)
    return await f(n - 1, what, *5)


async def main():
    for what in ("mapping", "iterable"):
        try:
            await f(1, what)
        except TypeError as error:
            log(str(error))
    return await f(0, "")
