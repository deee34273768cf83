"""`return value` inside try/finally and with inside a loop ends the whole run, not the step."""

import contextlib

from subject import log, tailrec


@tailrec
async def f(n):
    for i in range(3):
        try:
            with contextlib.nullcontext():
                if n == 0 and i == 1:
                    return "inside", i
        finally:
            log("finally", n, i)
    return await f(n - 1)


async def main():
    return await f(1)
