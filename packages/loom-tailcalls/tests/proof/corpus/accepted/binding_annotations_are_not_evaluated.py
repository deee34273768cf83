"""Annotations that cannot be evaluated stay strings under `from __future__ import annotations`."""
from __future__ import annotations

from subject import tailrec


@tailrec
async def f(n: Missing[int], acc: also.missing = 0) -> Nothing:
    local: never.evaluated = n
    if n == 0:
        return local, acc
    return await f(n - 1, acc + 1)


async def main():
    return await f(2), sorted(f.__annotations__.items())
