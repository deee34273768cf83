"""A file as a whole, taken from and put into a workspace: what a write changes, and what an undo brings back.

Putting is atomic: the new content is written beside the old one under a name of its own, made durable, and renamed
over it. A process that dies in between leaves the old file, and at most that other file, which the next try takes
over because its name is the same. Everything happens relative to the opened folder, never through a link.
"""

import contextlib
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import PurePosixPath

from loom_agents._errors import ToolError
from loom_agents._workspace.jail import Workspace

MAX_FILE_BYTES = 8_000_000

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)


@dataclass(frozen=True, slots=True)
class Image:
    """Hold what a file holds, and whether it may be executed. A file that does not exist is None instead."""

    data: bytes
    executable: bool = False

    @property
    def hash(self) -> str:
        """Name the content."""
        return hashlib.sha256(self.data).hexdigest()


def take(workspace: Workspace, path: str) -> Image | None:
    """Read a file as a whole; None when it does not exist.

    Args:
        workspace: Where it is.
        path: Relative, without links, as `Workspace.resolve` gave it.

    Raises:
        ToolError: It is refused, not a regular file, or too large.
    """
    if not os.path.lexists(workspace.root / path):
        return None
    with workspace.open(path) as file:
        facts = os.fstat(file.fileno())
        if facts.st_size > MAX_FILE_BYTES:
            raise ToolError(f"cannot change {path!r}: it has {facts.st_size} bytes; the most is {MAX_FILE_BYTES}.")
        return Image(file.read(), bool(facts.st_mode & stat.S_IXUSR))


def put(workspace: Workspace, path: str, image: Image | None, *, key: str) -> None:
    """Make a file be as in the image; None removes it.

    Args:
        workspace: Where it is.
        path: Relative, without links.
        image: What it shall be.
        key: Names the try; the same one takes over what it left when it was killed.

    Raises:
        OSError: The system refuses; the file is as before.

    Durability: the content and its name are on disk when this returns.
    """
    folder, name = PurePosixPath(path).parent.parts, PurePosixPath(path).name
    if image is None and not os.path.lexists(workspace.root / path):
        return
    beside = f".loom-{hashlib.sha256(f'{key}/{path}'.encode()).hexdigest()[:16]}.tmp"
    with workspace.folder(folder, make=image is not None) as handle:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside, dir_fd=handle)
        if image is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=handle)
        else:
            _write(handle, beside, name, image)
        os.fsync(handle)


def missing_folders(workspace: Workspace, path: str) -> int:
    """Count the folders above a file that do not exist yet."""
    return sum(not (workspace.root / folder).exists() for folder in PurePosixPath(path).parents)


def remove_folders(workspace: Workspace, path: str, number: int) -> None:
    """Remove the innermost folders above a file, as far as they are empty.

    Args:
        workspace: Where it is.
        path: Relative, without links.
        number: At most so many.
    """
    for folder in list(PurePosixPath(path).parents)[:number]:
        try:
            with workspace.folder(folder.parent.parts) as handle:
                os.rmdir(folder.name, dir_fd=handle)
        except OSError:
            return  # somebody put something there, or it is gone


def _write(folder: int, beside: str, name: str, image: Image) -> None:
    try:
        before = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        before = None
    # Nobody reads the new content before it has the mode of the old one.
    handle = os.open(beside, _NEW, 0o666 if before is None else 0o600, dir_fd=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(image.data)
            file.flush()
            _give_mode(handle, before, executable=image.executable)
            os.fsync(handle)
        os.rename(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(beside, dir_fd=folder)
        raise


def _give_mode(handle: int, before: os.stat_result | None, *, executable: bool) -> None:
    """Keep the mode and the owner of the file that is replaced; the executable bit is the image's."""
    if before is not None:
        with contextlib.suppress(PermissionError):
            os.fchown(handle, before.st_uid, before.st_gid)
    mode = stat.S_IMODE((before or os.fstat(handle)).st_mode)
    readers = (mode & 0o444) >> 2
    os.fchmod(handle, mode | readers if executable else mode & ~0o111)
