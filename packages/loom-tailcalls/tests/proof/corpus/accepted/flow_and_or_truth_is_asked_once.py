"""The truth of an operand is asked exactly as often as Python asks it."""

from subject import log, tailrec


class Truth:
    def __init__(self, name, value):
        self.name, self.value = name, value

    def __bool__(self):
        log("bool", self.name)
        return self.value

    def __repr__(self):
        return self.name


@tailrec
async def f(n, a, b):
    return (a and b) or (n or b) and (not n or await f(n - 1, b, a))


async def main():
    yes, no = Truth("yes", True), Truth("no", False)
    return await f(2, yes, no), await f(1, no, yes), await f(3, no, no)
