"""Locks on an open database that another SQLite library in this process cannot release. Theory of
operation:

SQLite's locks are POSIX locks, which belong to the process: when *any* descriptor of a file is
closed in the process, all of them are released. A second SQLite library (Python's `sqlite3`), or a
plain `open()` and `close()` of the file, therefore releases the locks of the first. The second
library then believes that it is the last user, and deletes the write-ahead log with everything in
it that was committed; or, when it opens the file, it truncates the shared memory that the first one
has mapped.

Locks of an *open file description* (Linux, `F_OFD_SETLK`) conflict with POSIX locks, even in one
process, and are not released by the close of another descriptor. `hold` takes two, shared ones:

* the range in the database that every SQLite connection locks shared: nobody gets the exclusive
  lock that the deletion of the log requires;
* the byte of the `-shm` file that says that it is in use: nobody truncates it.

They cannot replace the locks of transactions, so `other_library` refuses a second library. What
cannot be refused is detected: `set_canary` takes a POSIX lock on an unused byte of the `-shm` file,
which is released when another library closes that file. Where the system has no such locks, nothing
is held.
"""

from __future__ import annotations

import errno
import os
import struct
import time
from typing import Final

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["canary_is_set", "has_locks", "has_readers", "hold", "hold_database", "let_go", "set_canary"]

_SHARED_FIRST: Final = 0x40000002
_SHARED_SIZE: Final = 510
"""The bytes that a reader of a database locks (`SHARED_FIRST` in SQLite's os.h)."""
_IN_USE: Final = 128
"""The byte of a `-shm` file that every user of it locks (`UNIX_SHM_DMS` in SQLite's os_unix.c)."""
_READERS: Final = 123
_READERS_SIZE: Final = 5
"""The bytes of a `-shm` file that readers lock (`WAL_READ_LOCK(0)` to `(4)` in SQLite's wal.c)."""
_CANARY: Final = 1 << 40
"""Far behind all bytes that SQLite locks. Each process uses the byte with its own number."""
_FLOCK: Final = "hhqqi4x"
_REFUSED: Final = (errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EAGAIN, errno.EACCES, errno.EBADF)


def has_locks() -> bool:
    """Return whether the system has locks of open file descriptions."""
    return hasattr(fcntl, "F_OFD_SETLK") and struct.calcsize("l") == 8


def _flock(kind: int, start: int, size: int) -> bytes:
    return struct.pack(_FLOCK, kind, os.SEEK_SET, start, size, 0)


def hold_database(database: int) -> None:
    """Take only the lock on the database, for good; wait for its exclusive user, but not for
    long.
    """
    for _ in range(100 if has_locks() else 0):
        try:
            fcntl.fcntl(database, fcntl.F_OFD_SETLK, _flock(fcntl.F_RDLCK, _SHARED_FIRST, _SHARED_SIZE))
        except OSError as exc:
            if exc.errno in (errno.EAGAIN, errno.EACCES):
                time.sleep(0.01)
                continue
        return


def hold(database: int, shm: int) -> bool:
    """Take both locks; return whether the file system grants them.

    Args:
        database: A descriptor of the database.
        shm: A descriptor of its `-shm` file.
    """
    if not has_locks():
        return False
    try:
        fcntl.fcntl(database, fcntl.F_OFD_SETLK, _flock(fcntl.F_RDLCK, _SHARED_FIRST, _SHARED_SIZE))
        fcntl.fcntl(shm, fcntl.F_OFD_SETLK, _flock(fcntl.F_RDLCK, _IN_USE, 1))
    except OSError as exc:
        if exc.errno not in _REFUSED:
            raise
        let_go(database, shm)
        return False
    return True


def let_go(database: int, shm: int) -> None:
    """Release both locks.

    Closing the descriptors is not enough: a forked process shares what they describe.
    """
    if has_locks():
        for descriptor in (database, shm):
            try:
                fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _flock(fcntl.F_UNLCK, 0, 0))
            except OSError as exc:
                if exc.errno not in _REFUSED:
                    raise


def has_readers(shm: int) -> bool:
    """Return whether any connection, of any process, reads a snapshot of the database now."""
    try:
        return fcntl.fcntl(shm, fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK, _READERS, _READERS_SIZE))[:2] != _FREE
    except OSError:
        return False


def set_canary(shm: int) -> bytes:
    """Take a POSIX lock that the next close of this file in this process releases.

    Returns:
        What `canary_is_set` takes; empty if the lock is not granted.
    """
    place = _CANARY + os.getpid()
    try:
        fcntl.fcntl(shm, fcntl.F_SETLK, _flock(fcntl.F_RDLCK, place, 1))
    except OSError:
        return b""
    return _flock(fcntl.F_WRLCK, place, 1)


def canary_is_set(shm: int, canary: bytes) -> bool:
    """Return whether no descriptor of the file was closed in this process since `set_canary`."""
    # The kind of the lock that is in the way, or F_UNLCK.
    return fcntl.fcntl(shm, fcntl.F_OFD_GETLK, canary)[:2] != _FREE


_FREE: Final = struct.pack("h", getattr(fcntl, "F_UNLCK", 0))
