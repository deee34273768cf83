"""Translate SQLite's errors into those of this package, whose messages say what to do."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from loom_runner.errors import RunnerError, StoreBusy, StoreDamaged, StoreError, StoreReadOnly, StoreUnreadable
from loom_runner.own_files import user_text

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["is_locked", "named", "named_errors"]


@contextmanager
def named_errors(path: str) -> Iterator[None]:
    """Translate SQLite's errors in the block."""
    try:
        yield
    except Exception as exc:
        error = named(exc, path)
        if error is exc:
            raise
        raise error from exc


def is_locked(exc: BaseException) -> bool:
    """Return whether another connection keeps the database locked."""
    import apsw

    return isinstance(exc, apsw.BusyError | apsw.LockedError)


def named(exc: BaseException, path: str) -> BaseException:
    """Translate an error of SQLite; return any other error unchanged."""
    if isinstance(exc, RunnerError):
        return exc
    if isinstance(exc, ImportError) and exc.name == "apsw":
        return StoreError(f"cannot open {path}: the package apsw cannot be imported ({exc}). Install it again.")
    import apsw

    if isinstance(exc, UnicodeDecodeError):
        return StoreDamaged(f"cannot read {path}: it is damaged and contains a text that is not Unicode ({exc}).")
    if not isinstance(exc, apsw.Error):
        return exc
    match exc:
        case apsw.NotADBError():
            return StoreUnreadable(f"cannot open {path}: it is not a SQLite database. Name another file.")
        case apsw.CorruptError():
            return StoreUnreadable(f"cannot read {path}: the database is damaged ({exc}). Restore a copy.")
        case apsw.CantOpenError() | apsw.PermissionsError() | apsw.AuthError():
            why = _not_permitted(path) or f"{exc}. Check that the file and its folder may be used."
            return StoreUnreadable(f"cannot open {path}: {why}")
        case apsw.ReadOnlyError():
            return StoreReadOnly(f"cannot write to {path}: the file or its folder is read-only. Use a copy.")
        case apsw.BusyError() | apsw.LockedError():
            return StoreBusy(f"cannot write to {path}: another process kept it locked. Nothing changed; try again.")
        case apsw.FullError():
            return StoreBusy(
                f"cannot write to {path}: the disk is full. What was committed is safe; make room, then resume."
            )
        case apsw.IOError():
            return StoreBusy(
                f"cannot use {path}: the disk reports an error ({exc}). What was committed is safe; "
                "check the disk, then resume."
            )
        case apsw.ConnectionClosedError():
            return StoreUnreadable(f"cannot use {path}: the store was closed. Open it again.")
    return StoreError(f"cannot use {path}: {type(exc).__name__}: {exc}")


def _not_permitted(path: str) -> str | None:
    """Return whose file it is and what to do, when this user may not read and write it."""
    try:
        status = os.stat(path)  # noqa: PTH116  a name of any kind
    except OSError:
        return None
    if os.access(path, os.R_OK | os.W_OK) or not hasattr(os, "geteuid"):
        return None
    owner, mode = user_text(status.st_uid), stat.S_IMODE(status.st_mode)
    return (
        f"it belongs to {owner}, and its mode is {mode:04o}. Run the command as its owner, who can also share it with "
        "a group: chmod g+rw."
    )
