"""Functions and classes defined by an earlier step are unbound now."""

from subject import log, tailrec


@tailrec
async def f(n, which):
    if n == 2:

        def helper():
            return "helper"

        class Box:
            pass

    if n == 0:
        return helper() if which == "function" else Box
    return await f(n - 1, which)


async def main():
    for which in ("function", "class"):
        try:
            await f(3, which)
        except UnboundLocalError as error:
            log(str(error)[:50])
