"""Plain generators with loops, `try` around yields and tail delegation behind."""

from subject import log, tailstream


@tailstream
def s(n):
    for i in range(2):
        try:
            got = yield n, i
        except ValueError as error:
            yield "handled", repr(error)
            continue
        finally:
            log("finally", n, i)
        if got == "stop":
            return "stopped", n
    if n == 0:
        return "end"
    return (yield from s(n - 1))


def main():
    it = s(2)
    out = [next(it), next(it), it.throw(ValueError("x"))]
    out += [next(it)]
    try:
        out.append(it.send("stop"))
    except StopIteration as stop:
        out.append(stop.value)
    return out
