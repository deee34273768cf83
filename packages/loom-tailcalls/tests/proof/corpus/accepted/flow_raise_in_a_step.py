"""An exception of a step is the exception of the call, with its cause and its context."""

from subject import tailrec


@tailrec
async def f(n):
    if n == 0:
        try:
            {}["missing"]
        except KeyError as error:
            raise ValueError("no key") from error
    return await f(n - 1)


async def main():
    try:
        await f(3)
    except ValueError as error:
        return repr(error.__cause__), repr(error.__context__)
