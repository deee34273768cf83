"""Check whether the process that writes a journal is still running."""

import os
import sys


def is_alive(pid: object) -> bool:
    """Return whether a process of this machine is running, including one of another user.

    On Windows the result is always True: signal 0, which checks this elsewhere, would interrupt the
    process.
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
        return True  # it exists and belongs to another user
    return True
