"""The variable of a `for` that did not run this step is unbound, whatever the last step left."""

from subject import log, tailrec


@tailrec
async def f(n):
    for item in range(n - 1):
        pass
    try:
        log(n, item)
    except UnboundLocalError as error:
        log(n, "unbound")
    if n == 0:
        return "end"
    return await f(n - 1)


async def main():
    return await f(3)
