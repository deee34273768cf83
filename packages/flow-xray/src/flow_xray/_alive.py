"""Whether a process that wrote a journal still runs."""

import os
import sys


def is_alive(pid: object) -> bool:
    """Say whether a process of this machine runs; also when it belongs to another user.

    On Windows the answer is always yes: asking by signal 0 would interrupt it.
    """
    if not isinstance(pid, int) or pid <= 0:
        return False
    if sys.platform == "win32" or pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is there and belongs to somebody else
    return True
