"""Blocks in a plain function."""

from subject import log, tailrec


@tailrec
def f(n):
    try:
        if n == 0:
            return "end"
        return f(n - 1)  # deviates
    finally:
        log("finally", n)


def main():
    return f(2)


STEP = ("returned", "end")
STEP_EVENTS = [("finally", 2), ("finally", 1), ("finally", 0)]
