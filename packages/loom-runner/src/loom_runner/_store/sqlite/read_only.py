"""A connection that writes nothing, also to a file on a read-only medium."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from loom_runner._store.sqlite.foreign_objects import restrict

if TYPE_CHECKING:
    import apsw

__all__ = ["connect_to_read"]


def connect_to_read(path: str, busy_ms: int) -> apsw.Connection:
    """Return a restricted connection that only reads.

    Args:
        path: The file, absolute and without symbolic links.
        busy_ms: How long to wait for other processes.
    """
    import apsw

    db = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    db.set_busy_timeout(busy_ms)
    try:
        db.pragma("user_version")
    except (apsw.CantOpenError, apsw.ReadOnlyError):
        # A WAL database on a read-only medium, which no process can be writing to.
        db.close()
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        db = apsw.Connection(f"{Path(path).as_uri()}?immutable=1", flags=flags)
    restrict(db)
    return db
