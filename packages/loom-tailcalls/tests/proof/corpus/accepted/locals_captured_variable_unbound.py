"""A captured variable that this step did not assign is unbound in the closure too."""

from subject import tailrec


@tailrec
async def f(n, made=()):
    if n % 2:
        word = f"word {n}"

    def read():
        return word

    if n == 0:
        out = []
        for call in made:
            try:
                out.append(call())
            except NameError as error:
                out.append(str(error)[:45])
        return out
    return await f(n - 1, (*made, read))


async def main():
    return await f(4)
