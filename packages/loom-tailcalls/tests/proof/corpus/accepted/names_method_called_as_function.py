"""A method taken from the class and called with an odd receiver; equality is not asked, identity
is.
"""

from subject import log, tailrec


class Odd:
    def __eq__(self, other):
        log("eq")
        return True

    __hash__ = None

    @tailrec
    async def run(self, n):
        if n == 0:
            return "end"
        other = Odd() if n == 2 else self
        return await other.run(n - 1)


async def main():
    return await Odd().run(3), await Odd.run(Odd(), 2)
