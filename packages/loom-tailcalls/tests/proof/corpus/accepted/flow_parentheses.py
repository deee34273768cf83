"""Parentheses and line breaks change nothing."""

from subject import tailrec


@tailrec
async def f(n):
    if n == 0:
        return "end"
    return (
        await (
            f(
                (n - 1),
            )
        )
    )


async def main():
    return await f(3)
