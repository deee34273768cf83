"""An operand that others follow is not in tail position, however deep it stands."""

from subject import tailrec


@tailrec
async def f(n):
    return (n and (n < 3 or await f(n - 1))) or await f(n - 3)
    #                             ^ LT011
