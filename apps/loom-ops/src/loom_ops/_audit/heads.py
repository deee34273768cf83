"""The heads of a trail, appended to `DATABASE.audit-heads` beside the database.

Each line is `TIME NUMBER:HASH`. The chain alone does not show that its newest entries were removed;
a head does. Keep the file elsewhere, too: who can write the database can write the file beside it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from loom_ops._audit.chain import AuditHead
from loom_ops._clock import now_iso
from loom_ops._errors import AuditError

__all__ = ["append_head", "heads_file", "read_heads"]

_MAX_BYTES: Final = 64 << 20


def heads_file(database: Path | str) -> Path | None:
    """Return the file of a database; None when the database is in memory."""
    return None if str(database) == ":memory:" else Path(f"{database}.audit-heads")


def append_head(file: Path, head: AuditHead) -> None:
    """Append a head to its file, which is created for its owner only.

    Raises:
        AuditError: The file cannot be written.

    Durability: The line is written when this returns; the system may still lose it.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(file, flags, 0o600)
        try:
            os.write(descriptor, f"{now_iso()} {head}\n".encode())
        finally:
            os.close(descriptor)
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        raise AuditError(
            f"cannot append the audit head {head} to {file}: {reason}. The trail itself is on disk; "
            "move what is in the way."
        ) from exc


def read_heads(file: Path) -> tuple[list[AuditHead], list[str]]:
    """Return the heads in a file, and what is wrong with it.

    Raises:
        FileNotFoundError: There is no such file.
        AuditError: It cannot be read.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise AuditError(f"cannot read {file}: {(exc.strerror or str(exc)).lower()}. Correct it.") from exc
    if len(data) > _MAX_BYTES:
        raise AuditError(f"cannot read {file}: it has more than {_MAX_BYTES >> 20} MiB. Move it elsewhere.")
    heads: list[AuditHead] = []
    problems = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        try:
            heads.append(AuditHead.parse(line.partition(" ")[2]))
        except AuditError:
            problems.append(f"line {number} of {file.name} is not a head")
    if not data:
        problems.append(f"{file.name} is empty")
    return heads, problems
