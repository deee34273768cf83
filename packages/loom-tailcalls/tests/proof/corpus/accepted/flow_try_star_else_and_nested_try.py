"""The `else` of a `try` whose handler has a `try` of its own."""

from subject import log, tailrec


@tailrec
def f(n):
    try:
        value = 10 // (n - 2)
    except ZeroDivisionError:
        try:
            raise KeyError(n)
        except KeyError as error:
            log(repr(error), repr(error.__context__))
    else:
        for _ in range(2):
            try:
                pass
            finally:
                log("finally", n, value)
        else:
            if n == 0:
                return "end"
            return f(n - 1)
    return f(n - 1)


def main():
    return f(4)
