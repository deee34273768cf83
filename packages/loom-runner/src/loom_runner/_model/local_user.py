"""The user of the operating system, from the process and never from the environment."""

from __future__ import annotations

import os

__all__ = ["local_user"]


def local_user(uid: int | None = None) -> str:
    """Return the name of the user of this process, or of a uid; `uid-1000` without a name.

    `USER` and `LOGNAME` are ignored: anybody can set them.
    """
    try:
        import pwd
    except ImportError:  # Windows
        try:
            return os.getlogin()
        except OSError:
            return "unknown"
    number = os.getuid() if uid is None else uid
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # a container may run without an entry
        return f"uid-{number}"
