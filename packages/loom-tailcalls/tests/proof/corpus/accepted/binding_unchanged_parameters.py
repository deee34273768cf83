"""Parameters that are handed on unchanged keep the very same object."""

from subject import tailrec


@tailrec
async def f(n, state, log_to, options=None):
    state.append(n)
    if n == 0:
        return state, log_to is state, options
    return await f(n - 1, state, log_to=log_to, options=options)


async def main():
    state = []
    return await f(3, state, state, options=("o",))
