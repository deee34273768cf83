"""Write a file so that it is complete or absent, never half written."""

import os
import stat
from contextlib import suppress
from typing import BinaryIO

from flow_xray._errors import TraceOutputError


def write_whole(path: "str | os.PathLike[str]", content: bytes) -> None:
    """Write a temporary file next to the target and rename it; a link stays a link.

    A new file can be read by this user only; an existing one keeps its permissions.
    A target that is not a regular file (`/dev/stdout`, a pipe) is written to directly.

    Raises:
        TraceOutputError: The file cannot be written; an existing file is unchanged.
    """
    given = os.fspath(path)
    target = os.path.realpath(given)
    partial = f"{target}.{os.getpid()}.partial"
    try:
        if os.path.isdir(given):  # noqa: PTH112  pathlib costs 9 ms at import
            raise IsADirectoryError(21, "it is a folder", given)
        if os.path.exists(target) and not os.path.isfile(target):  # noqa: PTH110,PTH113  as above
            with open(target, "wb") as stream:  # noqa: PTH123  as above
                stream.write(content)
            return
        with open_private(partial) as stream:
            if os.path.exists(target):  # noqa: PTH110  as above
                os.chmod(partial, stat.S_IMODE(os.stat(target).st_mode))  # noqa: PTH101,PTH116  as above
            stream.write(content)
        os.replace(partial, target)  # noqa: PTH105  as above
    except OSError as error:
        with suppress(OSError):
            os.unlink(partial)  # noqa: PTH108  as above
        raise TraceOutputError(
            f"cannot write {given!r}: because {error.strerror or error}. Give a path in a folder that can be written."
        ) from error


def open_private(path: "str | os.PathLike[str]") -> BinaryIO:
    """Open a new file for writing that only this user can read; remove an earlier one.

    Raises:
        OSError: It cannot be created.
    """
    with suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108  as above
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return open(os.open(path, flags, 0o600), "wb")  # noqa: PTH123  as above


def make_private_folder(path: "str | os.PathLike[str]") -> None:
    """Create a folder and its missing parents, for this user only.

    Raises:
        OSError: One cannot be created.
    """
    given = os.path.abspath(path)  # noqa: PTH100  as above
    missing = []
    while not os.path.isdir(given):  # noqa: PTH112  as above
        missing.append(given)
        given = os.path.dirname(given)  # noqa: PTH120  as above
    for folder in reversed(missing):
        with suppress(FileExistsError):  # another process was faster
            os.mkdir(folder, 0o700)  # noqa: PTH102  as above
    if missing and not os.path.isdir(missing[0]):  # noqa: PTH112  as above
        raise FileExistsError(17, "a file has this name", missing[0])
