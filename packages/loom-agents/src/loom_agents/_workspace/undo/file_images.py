"""Images of complete files: read them from a workspace, and write or restore them.

Writing is atomic: the new content is written to a temporary file in the same folder, made durable,
and renamed over the old file. A process that crashes in between leaves the old file and at most the
temporary file, which the next attempt replaces because it has the same name. All paths are relative
to the opened folder, never through a link.
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
    """Hold the content of a file and whether it is executable. None is a missing file."""

    data: bytes
    executable: bool = False

    @property
    def hash(self) -> str:
        """The SHA-256 of the content, in hex."""
        return hashlib.sha256(self.data).hexdigest()


def take(workspace: Workspace, path: str) -> Image | None:
    """Read the image of a file; None when it does not exist.

    Args:
        workspace: The workspace.
        path: The path, relative to the workspace and without links (see `Workspace.resolve`).

    Raises:
        ToolError: The path is refused, or the file is not a regular file or too large.
    """
    if not os.path.lexists(workspace.root / path):
        return None
    with workspace.open(path) as file:
        facts = os.fstat(file.fileno())
        if facts.st_size > MAX_FILE_BYTES:
            raise ToolError(f"cannot change {path!r}: it has {facts.st_size} bytes; the limit is {MAX_FILE_BYTES}.")
        return Image(file.read(), bool(facts.st_mode & stat.S_IXUSR))


def put(workspace: Workspace, path: str, image: Image | None, *, key: str) -> None:
    """Write the image of a file; None deletes the file.

    Args:
        workspace: The workspace.
        path: The path, relative to the workspace and without links.
        image: The new image.
        key: Determines the name of the temporary file, so that a repeated attempt replaces what a
            crash left.

    Raises:
        OSError: The file cannot be written; it is unchanged.

    Durability: the content and the name are on disk when this returns.
    """
    folder, name = PurePosixPath(path).parent.parts, PurePosixPath(path).name
    if image is None and not os.path.lexists(workspace.root / path):
        return
    temporary = f".loom-{hashlib.sha256(f'{key}/{path}'.encode()).hexdigest()[:16]}.tmp"
    with workspace.folder(folder, make=image is not None) as handle:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=handle)
        if image is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=handle)
        else:
            _write(handle, temporary, name, image)
        os.fsync(handle)


def missing_folders(workspace: Workspace, path: str) -> int:
    """Return the number of folders above a file that do not exist."""
    return sum(not (workspace.root / folder).exists() for folder in PurePosixPath(path).parents)


def remove_folders(workspace: Workspace, path: str, number: int) -> None:
    """Remove the innermost folders above a file if they are empty.

    Args:
        workspace: The workspace.
        path: The path, relative to the workspace and without links.
        number: The most folders to remove.
    """
    for folder in list(PurePosixPath(path).parents)[:number]:
        try:
            with workspace.folder(folder.parent.parts) as handle:
                os.rmdir(folder.name, dir_fd=handle)
        except OSError:
            return  # it is not empty, or it no longer exists


def _write(folder: int, temporary: str, name: str, image: Image) -> None:
    try:
        before = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        before = None
    # No other user can read the new content before the file has the mode of the old one.
    handle = os.open(temporary, _NEW, 0o666 if before is None else 0o600, dir_fd=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(image.data)
            file.flush()
            _give_mode(handle, before, executable=image.executable)
            os.fsync(handle)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise


def _give_mode(handle: int, before: os.stat_result | None, *, executable: bool) -> None:
    """Copy mode and owner of the replaced file; the image decides whether it is executable."""
    if before is not None:
        with contextlib.suppress(PermissionError):
            os.fchown(handle, before.st_uid, before.st_gid)
    mode = stat.S_IMODE((before or os.fstat(handle)).st_mode)
    readers = (mode & 0o444) >> 2
    os.fchmod(handle, mode | readers if executable else mode & ~0o111)
