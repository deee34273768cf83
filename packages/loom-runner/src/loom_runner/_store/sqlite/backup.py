"""A copy of an open database, made by SQLite while the database is used."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from loom_runner._store.address import absolute_path, check_file, sqlite_path
from loom_runner._store.sqlite.foreign_objects import restrict
from loom_runner._store.sqlite.log_mark import remove_marks
from loom_runner.errors import StoreReplaced, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import apsw

    from loom_runner._store.sqlite.file import SQLiteFile

__all__ = ["backup"]


def backup(file: SQLiteFile, address: str | os.PathLike[str]) -> int:
    """Write a copy of a database to a new file; see `Runs.backup`."""
    given = sqlite_path(address)
    if given == ":memory:":
        raise UsageError("cannot back up to :memory:: a backup is a file. Name one.")
    target = absolute_path(given)
    check_file(given)
    if os.path.lexists(target):
        raise UsageError(f"cannot back up to {given}: the file exists, and is not overwritten. Name another file.")
    part = f"{target}.part-{os.getpid()}"
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        _copy(file, part)
        _sync(part)
        try:
            os.link(part, target)  # fails if the name was taken meanwhile
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            Path(part).rename(target)
        _sync(str(Path(target).parent))
        return Path(target).stat().st_size
    except FileExistsError as exc:
        raise UsageError(
            f"cannot back up to {given}: {exc.filename2 or exc.filename} exists, and is not overwritten. "
            "Name another file."
        ) from exc
    except OSError as exc:
        raise UsageError(f"cannot back up to {given}: {exc.strerror}. Choose another place.") from exc
    finally:
        for name in (part, f"{part}-wal", f"{part}-shm", f"{part}-journal"):
            with suppress(OSError):
                Path(name).unlink()


def _copy(file: SQLiteFile, part: str) -> None:
    import apsw

    copy = apsw.Connection(part)
    try:
        with _source(file) as db, copy.backup("main", db, "main") as copying:
            copying.step(-1)  # all pages in one read transaction: a writer does not make it begin again
    finally:
        copy.close()
    copy = apsw.Connection(part)
    restrict(copy)
    try:
        copy.pragma("journal_mode", "delete")
        copy.execute("BEGIN IMMEDIATE")
        remove_marks(copy)
        copy.execute("COMMIT")
    finally:
        copy.close()


@contextmanager
def _source(file: SQLiteFile) -> Iterator[apsw.Connection]:
    """Return a connection of its own, so that nobody waits; the open one if the file has lost its
    name.
    """
    try:
        db = file.second(read_only=True)
    except StoreReplaced:
        with file.lock:
            yield file.db
        return
    try:
        yield db
    finally:
        db.close()


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not Path(path).is_dir():  # not every file system can sync a folder
            raise
    finally:
        os.close(descriptor)
