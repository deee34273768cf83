"""`send`, `throw` and `close` of a plain generator reach the innermost step, as `yield from`
says.
"""

from subject import log, tailstream


@tailstream
def s(n):
    try:
        got = yield n
        log("got", n, got)
    except KeyError as error:
        log("thrown", n, repr(error))
    finally:
        log("finally", n)
    if n:
        yield from s(n - 1)


def main():
    it = s(3)
    out = [next(it), it.send("a"), it.throw(KeyError("b"))]
    it.close()
    return out
