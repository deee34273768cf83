"""Read files that decide what may happen: settings, rules, tokens, keys, the list of trusted files;
and write files that only their owner can read.

Theory of operation. Whoever can write such a file decides in the user's name. So it is used only if
nobody but the user and root can change what its path leads to. The path is walked from `/`, link by
link, and each hop is checked:

* a folder, a link and the file belong to the user or to root;
* group and others cannot write the folder and the file. In a sticky folder such as `/tmp`, others
  can write but not replace an entry, so its owner decides;
* on systems where each user has a group of the same name (umask 002), that group counts as the
  user: it must be the user's primary group, have the user's name, and nobody else in it. A folder
  of root's whose group has nobody in it counts, too (Debian's `/usr/local`, group `staff`). Root's
  own group never does;
* a POSIX ACL that lets somebody write shows in the group bits (as its mask), so it is refused, too.

The file must be a plain file of bounded size: a pipe or a device is refused without waiting for it.

Not covered: who could write the file earlier and still has it open; a file system whose server does
not respect these bits; Windows, where only kind and size are checked.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Final, TextIO

from loom_runner.errors import NotOwnFile

__all__ = [
    "MAX_BYTES",
    "check_own_path",
    "create_own_file",
    "decode_toml",
    "read_own_file",
    "read_plain_file",
    "user_text",
    "write_own_file",
]

MAX_BYTES: Final = 1_000_000
_MAX_LINKS: Final = 40
_MAX_DEPTH: Final = 50
_HAS_OWNERS: Final = hasattr(os, "geteuid")
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def read_own_file(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a file that nobody but the user and root can write.

    Raises:
        NotOwnFile: Others can write it, or it is no plain file of at most `max_bytes`.
        OSError: It does not exist or cannot be read.
    """
    os.lstat(path)
    return read_plain_file(check_own_path(path), max_bytes=max_bytes)


def read_plain_file(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a plain file, whoever can write it.

    Raises:
        NotOwnFile: It is no plain file of at most `max_bytes`.
        OSError: It does not exist or cannot be read.
    """
    mode = os.stat(path).st_mode  # noqa: PTH116  any path-like
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(mode):
        raise NotOwnFile(f"{os.fspath(path)} is not a plain file. Name a plain file.")
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    with open(descriptor, "rb") as file:  # noqa: PTH123  a descriptor
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotOwnFile(f"{os.fspath(path)} is not a plain file. Name a plain file.")
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise NotOwnFile(f"{os.fspath(path)} has more than {max_bytes:,} bytes. Shorten it.")
    return content


def create_own_file(path: str | os.PathLike[str]) -> TextIO:
    """Open a new UTF-8 file for writing that only this user can read, whatever the umask is; remove
    an earlier one. A link of this name is removed, not followed.

    Raises:
        OSError: It cannot be created.
    """
    with suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108  any path-like
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
    return open(descriptor, "w", encoding="utf-8", errors="backslashreplace")  # noqa: PTH123  a descriptor


def write_own_file(path: str | os.PathLike[str], text: str) -> None:
    """Write a file that only this user can read, whole or not at all. A link is replaced, unless it
    leads to a pipe or a device, which is written to.

    Raises:
        OSError: It cannot be written; an earlier file is unchanged.
    """
    target = Path(path)
    if target.exists() and not target.is_file():
        target.write_text(text, encoding="utf-8", errors="backslashreplace")
        return
    part = target.with_name(f".{target.name[:200]}.{os.getpid()}.part")
    try:
        with create_own_file(part) as file:
            file.write(text)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def check_own_path(path: str | os.PathLike[str]) -> Path:
    """Check every folder and link on the way to a file, and the file; return where the path leads.

    Raises:
        NotOwnFile: Somebody else could replace or write it.
        OSError: It does not exist, or a folder cannot be searched.
    """
    if not _HAS_OWNERS:
        return Path(path).resolve(strict=True)
    absolute = os.path.abspath(path) if ".." not in Path(path).parts else os.path.join(os.getcwd(), path)  # noqa: PTH100, PTH109, PTH118  keeps `..` after a link
    current = Path("/")
    status = current.lstat()
    remaining = list(Path(absolute).parts[1:])
    links = 0
    while remaining:
        name = remaining.pop(0)
        if name == "..":
            current = current.parent
            status = current.lstat()
            continue
        entry = current / name
        found = entry.lstat()
        _check_entry(current, status, entry, found)
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > _MAX_LINKS:
                raise NotOwnFile(f"{path} leads through more than {_MAX_LINKS} links. Name the file itself.")
            target = Path(os.readlink(entry))  # noqa: PTH115  the text of the link
            if target.is_absolute():
                current = Path("/")
                status = current.lstat()
            remaining = [part for part in target.parts if part != "/"] + remaining
            continue
        current, status = entry, found
    _check_writers(current, status)
    return current


def _check_entry(folder: Path, folder_status: os.stat_result, entry: Path, status: os.stat_result) -> None:
    """Check that nobody else can replace an entry of a folder."""
    if not _is_ours(status.st_uid):
        raise NotOwnFile(
            f"{_kind(status)} {entry} belongs to {user_text(status.st_uid)}, and this process runs as "
            f"{user_text(os.geteuid())}. Run the command as its owner (in a container: --user {status.st_uid}), or run "
            f"chown {_user_name(os.geteuid())} {entry}."
        )
    if not folder_status.st_mode & stat.S_ISVTX:
        _check_writers(folder, folder_status)


def _check_writers(entry: Path, status: os.stat_result) -> None:
    writers = stat.S_IMODE(status.st_mode) & _OTHERS_WRITE
    if writers == stat.S_IWGRP and _is_group_of_user(status.st_gid, is_of_root=status.st_uid == 0):
        return
    if writers and not (stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX):
        raise NotOwnFile(
            f"others can write {_kind(status)} {entry} (mode {stat.S_IMODE(status.st_mode):04o}). "
            f"Run chmod go-w {entry}; on a file system without modes, mount it with umask=022."
        )


def _kind(status: os.stat_result) -> str:
    if stat.S_ISLNK(status.st_mode):
        return "the link"
    return "the folder" if stat.S_ISDIR(status.st_mode) else "the file"


def _is_ours(uid: int) -> bool:
    return uid in (0, os.geteuid())


def user_text(uid: int) -> str:
    """Return the number of a user, with the name if it has one."""
    return f"user {uid} ({name})" if (name := _user_name(uid)) != str(uid) else f"user {uid}"


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@lru_cache(maxsize=64)
def _is_group_of_user(gid: int, *, is_of_root: bool) -> bool:
    """Return whether the members of a group are the user alone (or nobody, for what root owns)."""
    import grp
    import pwd

    if gid == 0:
        return False
    try:
        group = grp.getgrgid(gid)
        user = pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    members = {*group.gr_mem, *(each.pw_name for each in pwd.getpwall() if each.pw_gid == gid)}
    if user.pw_uid != 0 and user.pw_gid == gid and group.gr_name == user.pw_name:
        return members <= {user.pw_name}
    return is_of_root and not members


def decode_toml(content: bytes) -> dict[str, object]:
    """Return the tables of TOML.

    Raises:
        ValueError: It is not UTF-8, not TOML, or nested too deeply; the text says which.
    """
    import tomllib

    try:
        tables = tomllib.loads(content.decode())
    except RecursionError as exc:
        raise ValueError(f"it is nested more than {_MAX_DEPTH} deep") from exc
    level: list[object] = [tables]
    for _ in range(_MAX_DEPTH):
        level = [
            part
            for each in level
            for part in (each.values() if isinstance(each, dict) else each if isinstance(each, list) else ())
        ]
        if not level:
            return tables
    raise ValueError(f"it is nested more than {_MAX_DEPTH} deep")
