"""A member of a group that is monkeypatched in the middle of a run is called as it is then."""
# exact: refused

from subject import log, tailrec


@tailrec(group="pair")
async def ping(n):
    log("ping", n)
    if n == 2:
        global pong
        pong = other
    if n == 0:
        return "ping"
    return await pong(n - 1)


@tailrec(group="pair")
async def pong(n):
    log("pong", n)
    if n == 0:
        return "pong"
    return await ping(n - 1)


async def other(n):
    return "other", n


async def main():
    return await ping(4)
