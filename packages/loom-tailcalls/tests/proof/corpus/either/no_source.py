"""A function whose source nobody has: refused, or equal."""

from subject import tailrec


SRC = '''from subject import tailrec
@tailrec
async def g(n):
    if n == 0:
        return "end"
    return await g(n - 1)
'''


async def main():
    space = {"__name__": "__main__"}
    exec(compile(SRC, "<string>", "exec"), space)
    return await space["g"](3)
