"""Notes, causes and groups raised by a late step arrive whole."""

from subject import log, tailrec


@tailrec
async def f(n):
    if n == 0:
        error = ExceptionGroup("late", [ValueError(1), KeyError(2)])
        error.add_note("a note")
        raise error from OSError("cause")
    return await f(n - 1)


async def main():
    try:
        await f(3)
    except* ValueError as group:
        log(repr(group), group.__notes__, repr(group.__cause__))
    except* KeyError as group:
        log(repr(group))
