"""Addresses of databases: a path, or a URL whose scheme selects the store."""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from loom_runner._model.formatting import shorten
from loom_runner.errors import StoreUnreadable, UsageError

__all__ = ["absolute_path", "address_of", "check_file", "create_private", "database_exists", "sqlite_path"]

# The last alternative is credentials without a scheme (`user:password@host`), which no message may
# show. All other names with a colon are paths, for instance `12:30.sqlite` or `C:/runs.sqlite`.
_URL: Final = re.compile(r"[^/:]*://|[^/:]{2,}:/|(?:sqlite|file):|[^/:]*:[^/\\]*@", re.IGNORECASE)


def sqlite_path(address: str | os.PathLike[str]) -> str:
    """Return the SQLite file that an address names. A returned path is a valid address of the file.

    Args:
        address: A path, or `sqlite:///relative/path` or `sqlite:////absolute/path`, where the rest
            is the path as it is: without %-escapes and parameters. `:memory:` is a database without
            a file.

    Raises:
        UsageError: No store supports the scheme of the address, or the address names no file. The
            message shows nothing of a URL but its scheme.
    """
    text = os.fspath(address) if isinstance(address, os.PathLike) else address
    if not isinstance(text, str):
        raise UsageError(f"cannot open a database: an address is a str or a path, not {type(text).__name__}.")
    while _URL.match(text):
        text = _path_of_url(text)
    if not text.strip():
        raise UsageError("cannot open a database without a name. Name a file, for instance runs.sqlite.")
    if "\0" in text:
        raise UsageError("cannot open the database: the name contains a NUL character. Remove it.")
    if not text.isascii() and text != text.encode("utf-8", "replace").decode():
        raise UsageError(f"cannot open {text!a}: the name is not UTF-8. Rename the file.")
    return text


def _path_of_url(url: str) -> str:
    name, _, rest = url.partition(":")
    scheme = shorten(name.lower(), 40)
    if scheme != "sqlite":
        raise UsageError(
            f"cannot open {scheme}:...: no store supports the scheme {scheme!r}. Name a SQLite file, for instance "
            "runs.sqlite or sqlite:///runs.sqlite."
        )
    if not rest.startswith("///"):
        raise UsageError(
            "cannot open sqlite:...: the URL of a SQLite file begins with sqlite:///. Write sqlite:///relative/path, "
            "sqlite:////absolute/path, or the path alone."
        )
    if "?" in rest:
        raise UsageError(
            "cannot open sqlite:///...?...: the URL of a SQLite file takes no parameters. Remove what follows the "
            "question mark; a file with such a name is named by its path alone."
        )
    return rest.removeprefix("///")


def database_exists(address: str | os.PathLike[str]) -> bool:
    """Return whether there is a file at an address.

    Raises:
        UsageError: The address names no file.
        StoreUnreadable: The system does not say, for instance for lack of permission.
    """
    return _mode_of(sqlite_path(address)) is not None


def absolute_path(path: str) -> str:
    """Return a path that does not depend on the current folder.

    Raises:
        StoreUnreadable: The path is relative, and the current folder does not exist any more.
    """
    try:
        return os.path.abspath(path)  # noqa: PTH100  (`resolve` follows links, too)
    except FileNotFoundError as exc:
        raise StoreUnreadable(
            f"cannot open {path}: the current folder was deleted. Go to another folder, or name an absolute path."
        ) from exc


def address_of(path: str, absolute: str) -> str:
    """Return a path as it was given, while it leads to the file at the absolute path; else that
    path.
    """
    try:
        return path if path == ":memory:" or absolute_path(path) == absolute else absolute
    except StoreUnreadable:
        return absolute


def check_file(path: str, *, must_exist: bool = False) -> None:
    """Check that a path names a file that exists or can be created.

    Raises:
        StoreUnreadable: It is a directory or a device, its folder does not exist, or the system
            refuses the name.
    """
    mode, folder = _mode_of(path), Path(path).parent
    if mode is None:
        if not stat.S_ISDIR(_mode_of(folder) or 0):
            raise StoreUnreadable(f"cannot open {path}: there is no folder {folder}. Create it first.")
        if must_exist:
            raise StoreUnreadable(f"cannot open {path}: there is no such file.")
    elif stat.S_ISDIR(mode):
        raise StoreUnreadable(f"cannot open {path}: it is a directory. Name a file in it.")
    elif not stat.S_ISREG(mode):
        raise StoreUnreadable(f"cannot open {path}: it is not a regular file. Name another file.")


def create_private(path: str) -> None:
    """Create a missing file that only its owner can read, whatever the umask is. SQLite gives its
    other files (`-wal`, `-shm`) the same permissions.
    """
    import apsw  # noqa: F401  (without SQLite no file is made)

    with suppress(OSError):  # it exists, or SQLite reports why it cannot be created
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _mode_of(path: str | Path) -> int | None:
    try:
        return Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise StoreUnreadable(
            f"cannot open {path}: {exc.strerror}. Check the name and the permissions of its folders."
        ) from exc
