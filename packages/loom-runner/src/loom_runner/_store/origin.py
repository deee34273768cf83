"""Where a database comes from: its id, who made it, and whether this user trusts it.

A database has a random id and the user who made it (rows of `about`). The databases that the
products made for this user, or that the user trusted, are recorded by their ids, in files that only
the user can write: `$XDG_STATE_HOME/loom/databases/ID`. A copy has the id of its original.

A database is *foreign* if it is not recorded and another user made or owns it, or it stands in a
git work tree, where it may have come with the repository. Where nothing can be recorded (a
container without a home), only makers and owners are compared.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import apsw

__all__ = [
    "Origin",
    "foreign_because",
    "give_id",
    "is_recorded",
    "read_origin",
    "record",
    "records_problem",
    "this_user",
    "user_state_folder",
]

_ID: Final = re.compile(r"[0-9a-f]{32}")
_RECORDS: Final = "databases"
_FOLDERS: Final = (_RECORDS, "setups")
_READ: Final = "SELECT name, value FROM about WHERE name IN ('database_id', 'made_by')"
_ADD: Final = "INSERT OR IGNORE INTO about (name, value) VALUES (?, ?)"


@dataclass(frozen=True, slots=True)
class Origin:
    """Who made a database.

    Attributes:
        database_id: 32 hexadecimal digits; empty for a database that was not written to since
            databases have ids.
        made_by: The user's number and name; None if it was made before this was recorded.
    """

    database_id: str
    made_by: tuple[int, str] | None


def this_user() -> tuple[int, str]:
    """Return the number and the name of the user of this process, from the system."""
    if not hasattr(os, "getuid"):  # Windows
        return 0, ""
    import pwd

    uid = os.getuid()
    try:
        return uid, pwd.getpwuid(uid).pw_name
    except KeyError:  # in a container
        return uid, ""


def give_id(db: apsw.Connection, *, is_new: bool) -> None:
    """Give a database its id, inside an open transaction; a new one its maker, too."""
    db.execute(_ADD, ("database_id", os.urandom(16).hex()))
    if is_new:
        db.execute(_ADD, ("made_by", json.dumps(this_user())))


def read_origin(db: apsw.Connection) -> Origin:
    """Return the origin of an open database. What is not as `give_id` wrote it is ignored."""
    found: dict[str, Any] = {str(name): value for name, value in db.execute(_READ)}
    database_id, made_by = found.get("database_id"), None
    with suppress(ValueError, TypeError, RecursionError):
        uid, user = json.loads(found["made_by"]) if "made_by" in found else (None, None)
        made_by = (int(uid), str(user)) if uid is not None else None
    is_valid = isinstance(database_id, str) and _ID.fullmatch(database_id) is not None
    return Origin(str(database_id) if is_valid else "", made_by)


def foreign_because(path: str, origin: Origin) -> str | None:
    """Return why a database is foreign, for a message; None if it is not."""
    if is_recorded(origin.database_id):
        return None
    uid, user = this_user()
    if origin.made_by is not None and origin.made_by != (uid, user):
        return "another user made it"
    real = Path(os.path.realpath(path))
    with suppress(OSError):
        if hasattr(os, "getuid") and real.stat().st_uid != uid:
            return "another user owns the file"
    if any((folder / ".git").exists() for folder in real.parents) and _can_record():
        return "it is in a git work tree, and may have come with it"
    return None


def record(database_id: str, path: str) -> bool:
    """Record that this user made or trusts a database; return whether that was possible."""
    folder = user_state_folder(_RECORDS, create=True)
    if folder is None or not _ID.fullmatch(database_id):
        return False
    try:
        handle = os.open(folder / database_id, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(os.path.realpath(path) + "\n")
    except OSError:
        return False
    return True


def is_recorded(database_id: str) -> bool:
    """Return whether this user made or trusts a database."""
    folder = user_state_folder(_RECORDS)
    if folder is None or not _ID.fullmatch(database_id):
        return False
    with suppress(OSError):
        return (folder / database_id).is_file()
    return False


def user_state_folder(name: str, *, create: bool = False) -> Path | None:
    """Return `$XDG_STATE_HOME/loom/NAME`, if there is one that only this user can write.

    Args:
        create: Create it if it is missing.
    """
    folder = _loom_folder()
    if folder is None:
        return None
    with suppress(OSError):
        if create:
            (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_of_user(folder / name):
            return folder / name
    return None


def records_problem() -> str | None:
    """Return why nothing can be recorded for this user, and what to do; None if it can be."""
    loom = _loom_folder()
    if loom is None:
        return "there is no home folder. Set XDG_STATE_HOME to a folder of yours."
    for folder in (loom / name for name in _FOLDERS):
        usable = user_state_folder(folder.name, create=True)
        if usable is not None and os.access(usable, os.W_OK):
            continue
        with suppress(OSError):
            if folder.is_dir() and not _is_of_user(folder):
                return f"{folder} belongs to another user, or others can write it. Change its owner, or chmod go-w it."
        return f"{folder} cannot be written. Set XDG_STATE_HOME to a folder that you can write."
    return None


def _loom_folder() -> Path | None:
    state = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):  # noqa: PTH117  (as the XDG specification says, a relative one is ignored)
        home = os.path.expanduser("~")  # noqa: PTH111  (Path.expanduser raises without a home)
        if not os.path.isabs(home):  # noqa: PTH117
            return None
        state = str(Path(home, ".local", "state"))
    return Path(state, "loom")


def _is_of_user(folder: Path) -> bool:
    """Return whether only this user can write to a folder."""
    if not hasattr(os, "getuid"):
        return folder.is_dir()
    found = folder.stat()
    return found.st_uid == os.getuid() and not found.st_mode & 0o022


def _can_record() -> bool:
    folder = user_state_folder(_RECORDS, create=True)
    return folder is not None and os.access(folder, os.W_OK)
