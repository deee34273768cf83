"""Who this process is, and whether another one has certainly ended."""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache
from pathlib import Path

from loom_runner._model.records import Owner

__all__ = ["is_gone", "this_process"]


@cache
def _machine() -> str:
    """Name the space in which a pid means one process: host, boot and, in containers, the pid namespace."""
    parts = [platform.node()]
    for source in (Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")):
        try:
            parts.append(str(source.readlink()) if source.is_symlink() else source.read_text("ascii").strip())
        except OSError:
            parts.append("-")
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def _born(pid: int) -> str | None:
    """When a process started, in the system's own count; None where the system does not say."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()[19]


def this_process() -> Owner:
    """Name this process so that no other one, even with the same pid, has the same name."""
    pid = os.getpid()
    return Owner(_machine(), pid, _born(pid) or "-")


def is_gone(owner: Owner) -> bool:
    """Say whether a process certainly does not exist any more.

    A process of another machine, or one that merely sleeps, is not *certainly* gone; its lease has to run out.
    """
    if owner.machine != _machine():
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it exists and is another user's
    born = _born(owner.pid)
    if born is None:
        return False
    if _is_zombie(owner.pid):
        return True
    return owner.process not in ("-", born)


def _is_zombie(pid: int) -> bool:
    """A process that has ended and only waits for its parent to notice."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] in ("Z", "X")
