"""The coroutine object carries the user's names and its code the user's lines."""

from subject import tailrec


@tailrec
async def f(n):
    if n == 0:
        return n
    return await f(n - 1)


f.tag = "attribute"


async def main():
    c = f(0)
    names = c.__name__, c.__qualname__, c.cr_code.co_name, c.cr_frame.f_lineno
    c.close()
    return names, f.tag, f.__dict__.get("tag")
