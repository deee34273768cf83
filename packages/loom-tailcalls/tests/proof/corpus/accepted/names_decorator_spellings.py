"""The decorator may be spelled as an attribute, an alias, with empty parentheses, or come out of a
variable.
"""

import subject

from subject import tailrec


tr = subject.tailrec


@subject.tailrec
async def a(n):
    return "a" if n == 0 else await a(n - 1)


@subject.tailrec()
async def b(n):
    return "b" if n == 0 else await b(n - 1)


@tr
async def c(n):
    return "c" if n == 0 else await c(n - 1)


@[subject.tailrec][0]
async def d(n):
    return "d" if n == 0 else await d(n - 1)


async def main():
    return [await call(3) for call in (a, b, c, d)]


async def deep():
    return [await call(1500) for call in (a, b, c, d)]


DEEP = ["a", "b", "c", "d"]
