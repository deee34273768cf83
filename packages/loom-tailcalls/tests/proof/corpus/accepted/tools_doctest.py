"""A function defined in a doctest is compiled from the doctest's own lines."""

import doctest

from subject import tailrec


DOC = """
>>> from subject import tailrec
>>> @tailrec
... async def h(n):
...     if n == 0: return "ok"
...     return await h(n - 1)
>>> c = h(3)
>>> try: c.send(None)
... except StopIteration as stop: print(stop.value)
ok
>>> @tailrec
... def g(n): return "g" if n == 0 else g(n - 1)
>>> g(5)
'g'
"""


def main():
    test = doctest.DocTestParser().get_doctest(DOC, {}, "example", None, 0)
    out = []
    result = doctest.DocTestRunner().run(test, out=out.append)
    return result.failed, result.attempted, "".join(out)[-600:]
