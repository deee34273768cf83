"""Two functions of one group call each other in constant stack."""
# exact: refused

from subject import tailrec


@tailrec(group="parity")
async def even(n):
    if n == 0:
        return True
    return await odd(n - 1)


@tailrec(group="parity")
async def odd(n):
    if n == 0:
        return False
    return await even(n - 1)


async def main():
    return await even(4), await even(5), await odd(7), await odd(2)


async def deep():
    return await even(5000), await odd(5000)


DEEP = (True, False)
