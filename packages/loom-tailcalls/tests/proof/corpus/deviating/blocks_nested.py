"""Nested blocks are left from the inside out, each with this step's values."""

import contextlib

from subject import log, tailrec


@contextlib.contextmanager
def span(name):
    log("enter", name)
    try:
        yield name
    finally:
        log("exit", name)


@tailrec
async def f(n, path=()):
    if n == 0:
        return path
    try:
        with span(("outer", n)):
            try:
                with span(("inner", n)):
                    return await f(n - 1, path + (n,))  # deviates
            finally:
                log("inner finally", n)
    finally:
        log("outer finally", n)


async def main():
    return await f(2)


STEP = ("returned", (2, 1))
STEP_EVENTS = [
    ("enter", ("outer", 2)),
    ("enter", ("inner", 2)),
    ("exit", ("inner", 2)),
    ("inner finally", 2),
    ("exit", ("outer", 2)),
    ("outer finally", 2),
    ("enter", ("outer", 1)),
    ("enter", ("inner", 1)),
    ("exit", ("inner", 1)),
    ("inner finally", 1),
    ("exit", ("outer", 1)),
    ("outer finally", 1),
]
