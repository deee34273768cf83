"""The path jail: all access of tools to files goes through it.

Theory of operation
-------------------
A path from a model is untrusted. It must pass four checks, in this order:

1. *form*: relative (or absolute but under the workspace), no `..`, no NUL, not empty;
2. *name*: no part of it names a secret (`secret_names`), and it is not a private file of the
   application, such as the database with all conversations;
3. *links*: the path with all links resolved must be under the workspace, which is itself resolved,
   and must pass check 2 again, so that `notes.txt -> .env` is refused by its target;
4. *opening*: the resolved path is opened part by part, each relative to the previous folder and
   none through a link. If a link is swapped in after check 3, opening the path fails. Only regular
   files are opened, without blocking, so that a named pipe cannot hang a run. A tool that writes
   gets the folder opened in the same way, and works relative to it (`folder`).

Not covered: a hard link has no target that could be checked, so a hard link to a secret under
another name is readable; so is a secret inside a file with an ordinary name.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from loom_agents._errors import WorkspaceError
from loom_agents._workspace.secret_names import is_secret

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
_FOLDER = getattr(os, "O_DIRECTORY", 0)


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folder that tools may access.

    Args:
        root: The folder with all links resolved; use `Workspace.at`.
        private: Resolved paths of files that no tool may see. The files whose names continue with
            `-` are also private: SQLite names the files next to a database so.
    """

    root: Path
    private: tuple[str, ...] = ()

    @classmethod
    def at(cls, folder: Path, *, private: Iterable[Path] = ()) -> "Workspace":
        """Open a folder as the workspace.

        Args:
            folder: The folder; its path may contain links.
            private: Files that no tool may see, wherever they are.

        Raises:
            WorkspaceError: There is no such folder.
        """
        try:
            root = folder.resolve(strict=True)
        except (OSError, RuntimeError) as exc:
            raise WorkspaceError(f"cannot use {folder} as the workspace: it does not exist.") from exc
        if not root.is_dir():
            raise WorkspaceError(f"cannot use {folder} as the workspace: it is not a folder.")
        return cls(root, tuple(os.path.realpath(path) for path in private))

    def is_private(self, real: str) -> bool:
        """Report whether a path without links is a private file of the application."""
        for path in self.private:
            if real.startswith(path) and (len(real) == len(path) or real[len(path)] == "-"):
                return True
        return False

    def is_hidden(self, path: PurePosixPath) -> bool:
        """Report whether a relative path, whatever is there, names a secret or a private file."""
        return ".." in path.parts or is_secret(path.parts) or self.is_private(str(self.root / path))

    def resolve(self, path: str) -> Path:
        """Convert a path from a model to a real path, which need not exist (checks 1 to 3).

        Raises:
            WorkspaceError: The path leads outside, or names a secret.
        """
        asked = self._relative(path)
        if is_secret(asked.parts):
            raise _refused(path, "it may hold secrets")
        try:
            real = Path(os.path.realpath(self.root / asked))
        except (OSError, ValueError) as exc:
            raise _refused(path, "it is not a path on this machine") from exc
        if self.is_private(str(real)):
            raise _refused(path, "it is a private file of the application")
        if not real.is_relative_to(self.root):
            raise _refused(path, "it leads outside the workspace through a link")
        if is_secret(real.relative_to(self.root).parts):
            raise _refused(path, "it is a link to a file that may hold secrets")
        return real

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading (all four checks).

        Raises:
            WorkspaceError: The path is refused, missing, or not a regular file.
        """
        real = self.resolve(path)
        try:
            handle = self._descend(real.relative_to(self.root).parts)
        except OSError as exc:
            raise _unreadable(path, exc) from exc
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            kind = "folder; use list_files" if stat.S_ISDIR(os.fstat(handle).st_mode) else "special file"
            os.close(handle)
            raise WorkspaceError(f"cannot read {path!r}: it is a {kind}.")
        return os.fdopen(handle, "rb")

    @contextlib.contextmanager
    def folder(self, parts: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
        """Open a folder below the root, with no part through a link, and close it afterwards.

        Args:
            parts: Its path.
            make: Create missing folders.

        Yields:
            A file descriptor to use as `dir_fd`.
        """
        handle = os.open(self.root, os.O_RDONLY | _FOLDER)
        try:
            for part in parts:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, dir_fd=handle)
                        os.fsync(handle)
                inner = os.open(part, os.O_RDONLY | _NO_LINK | _FOLDER, dir_fd=handle)
                os.close(handle)
                handle = inner
            yield handle
        finally:
            os.close(handle)

    def shown(self, real: Path) -> str:
        """Return a path in the form that the model uses: relative, with slashes."""
        return real.relative_to(self.root).as_posix()

    def _relative(self, path: str) -> PurePosixPath:
        if not path.strip() or "\0" in path:
            raise _refused(path, "it is empty or has a NUL character")
        asked = PurePosixPath(path.replace("\\", "/") if os.sep == "\\" else path)
        if ".." in asked.parts:
            raise _refused(path, "'..' is not allowed")
        if asked.is_absolute():
            # The path may go through a link to the workspace, so the folder is compared after it is
            # resolved.
            try:
                asked = PurePosixPath(Path(os.path.realpath(asked.parent)).relative_to(self.root) / asked.name)
            except (OSError, ValueError) as exc:
                raise _refused(path, "it is outside the workspace") from exc
        return asked

    def _descend(self, parts: tuple[str, ...]) -> int:
        """Open a path below the root, with no part through a link; return a file descriptor."""
        if not parts:
            return os.open(self.root, os.O_RDONLY | _FOLDER)
        with self.folder(parts[:-1]) as handle:
            return os.open(parts[-1], os.O_RDONLY | _NO_LINK | _NO_WAIT, dir_fd=handle)


def _refused(path: str, reason: str) -> WorkspaceError:
    return WorkspaceError(
        f"cannot use the path {path!r}: {reason}. Use a path inside the workspace, as list_files shows it."
    )


def _unreadable(path: str, exc: OSError) -> WorkspaceError:
    if exc.errno == errno.ENOENT:
        return WorkspaceError(f"cannot read {path!r}: there is no such file. Use list_files to see what exists.")
    if exc.errno == errno.ELOOP:
        return WorkspaceError(f"cannot read {path!r}: it was replaced by a link in the meantime.")
    return WorkspaceError(f"cannot read {path!r}: {exc.strerror or exc}.")
