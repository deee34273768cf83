"""Refuse a second SQLite library in this process for a file that a store has open (see `hold`).

Two libraries in one process do not see each other's locks: two writers damage the file, and when
one of them closes it, the locks of the other are released. So `sqlite3.connect` to such a file is
refused here before it happens, by a hook for Python's audit events, and so is `open` of its `-shm`
file, the close of which releases the locks of transactions. A connection that exists when a store
opens the file is found among the descriptors of the process.

Other processes are not concerned, and neither is `immutable=1`, which takes no locks.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from loom_runner.errors import AnotherSQLite

if TYPE_CHECKING:
    from collections.abc import Iterator

    import apsw

__all__ = ["FileKey", "descriptors_of", "file_key", "opened", "refuse_other_libraries", "watch_for_other_libraries"]

FileKey = tuple[int, int]
"""The device and the inode of a file."""

_TRUE: Final = ("1", "yes", "true", "on")
_INSTEAD: Final = "Use Runs(store).query(sql) or Runs(store).backup(path), or do it in another process."

opened: dict[FileKey, str] = {}
"""The files that stores of this process have open: databases and their `-shm` files, by their
paths."""

_is_watching = False


def file_key(path: str | bytes | int) -> FileKey | None:
    """Return what identifies a file, by whatever name; None if it does not exist."""
    try:
        found = os.stat(path)  # noqa: PTH116  (also of a descriptor)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def watch_for_other_libraries() -> None:
    """Install the hook, once in a process. A hook cannot be removed."""
    global _is_watching  # noqa: PLW0603  (the process has one)
    if not _is_watching:
        _is_watching = True
        sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    # Called for every audited event of the process, so the common cases are a few comparisons.
    if not opened or (event != "open" and event != "sqlite3.connect"):  # noqa: PLR1714  (the fastest form)
        return
    target = arguments[0]
    if event == "open" and (isinstance(target, int) or (isinstance(target, str) and not target.endswith("-shm"))):
        return
    try:
        refusal = refused(event, target)
    except Exception:  # noqa: BLE001  (a hook that fails would break the caller, who did nothing wrong)
        return
    if refusal is not None:
        raise refusal


def refused(event: str, target: Any) -> AnotherSQLite | None:
    """Return the error with which an audited event is refused, if it is."""
    if event == "open":
        shm = os.fsencode(target)
        path = opened.get(file_key(shm) or (-1, -1)) if shm.endswith(b"-shm") else None
        if path is None:
            return None
        return AnotherSQLite(
            f"cannot open {path}: this process has its database open as a store, and closing this file would release "
            f"the locks of its transactions. Copy the database with Runs(store).backup(path), or in another process."
        )
    for name in _files_of(os.fsdecode(target)):
        path = opened.get(file_key(name) or (-1, -1))
        if path is not None:
            return AnotherSQLite(
                f"cannot open {path} with Python's sqlite3: this process has it open as a store, and two SQLite "
                f"libraries in one process release each other's locks and lose commits. {_INSTEAD}"
            )
    return None


def _files_of(name: str) -> Iterator[str]:
    """Yield the files that a name may mean for `sqlite3.connect`: whether it is a URI is not part
    of the event.
    """
    yield name
    if not name.startswith("file:"):
        return
    from urllib.parse import parse_qsl, unquote

    name, _, query = name[5:].partition("#")[0].partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if options.get("mode") == "memory" or options.get("vfs") == "memdb" or options.get("immutable") in _TRUE:
        return
    if name.startswith("//"):
        name = "/" + name[2:].partition("/")[2]
    yield unquote(name)


def descriptors_of(*keys: FileKey) -> list[tuple[int, FileKey]]:
    """Return the descriptors of files in this process; empty where the system does not list
    them.
    """
    folder = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"
    try:
        names = os.listdir(folder)  # noqa: PTH208  (names, not paths)
    except OSError:
        return []
    found = []
    for name in names:
        key = file_key(int(name)) if name.isdecimal() else None
        if key in keys:
            found.append((int(name), key))
    return found


def refuse_other_libraries(path: str, *, shm_of_ours: int = 0) -> None:
    """Refuse to open a file that another SQLite library has open in this process.

    Args:
        path: The database, without symbolic links.
        shm_of_ours: How many descriptors of its `-shm` file this package has open.

    Raises:
        AnotherSQLite: There is a descriptor that apsw did not open.
    """
    database, shm = file_key(path), file_key(f"{path}-shm")
    if database is None:
        return
    import apsw

    # apsw's SQLite has one descriptor of a -shm file, however many connections it has.
    is_open_in_apsw = any(_may_be_of(connection, database) for connection in apsw.connections())
    descriptors = descriptors_of(database, *([] if shm is None else [shm]))
    of_shm = sum(key == shm for _, key in descriptors) - shm_of_ours - is_open_in_apsw
    to_write = 0 if is_open_in_apsw else sum(key == database and _may_write(number) for number, key in descriptors)
    if of_shm > 0 or to_write > 0:
        raise AnotherSQLite(
            f"cannot use {path}: another SQLite library (for instance Python's sqlite3) has it open in this process, "
            f"and two of them release each other's locks and lose commits. Close that connection first. {_INSTEAD}"
        )


def _may_be_of(connection: apsw.Connection, database: FileKey) -> bool:
    """Return whether a connection of apsw has a file open; also if it does not tell."""
    import apsw

    try:
        return file_key(connection.filename) == database
    except apsw.ConnectionClosedError:
        return False
    except apsw.Error:  # another thread uses it now
        return True


def _may_write(descriptor: int) -> bool:
    try:
        import fcntl

        return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & (os.O_RDWR | os.O_WRONLY))
    except (ImportError, OSError):
        return False
