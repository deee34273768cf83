"""The identity of this process, and whether another process has certainly ended."""

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
    """Identify the scope of pids: the host, its boot and, in containers, the pid namespace."""
    parts = [platform.node()]
    for source in (Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")):
        try:
            parts.append(str(source.readlink()) if source.is_symlink() else source.read_text("ascii").strip())
        except OSError:
            parts.append("-")
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def _start_time(pid: int) -> str | None:
    """Return when a process started, in clock ticks of the system; None where that is not known."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()[19]


def this_process() -> Owner:
    """Return an identity that no other process has, even with the same pid."""
    return _owner(os.getpid())


@cache  # by pid: a forked child is another process
def _owner(pid: int) -> Owner:
    return Owner(_machine(), pid, _start_time(pid) or "-")


def is_gone(owner: Owner) -> bool:
    """Return whether a process has certainly ended.

    A process of another machine, or one that is suspended, is not *certainly* gone: its lease has
    to expire.
    """
    if owner.machine != _machine():
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it exists and belongs to another user
    start_time = _start_time(owner.pid)
    if start_time is None:
        return False
    if _is_zombie(owner.pid):
        return True
    return owner.process not in ("-", start_time)


def _is_zombie(pid: int) -> bool:
    """Return whether a process has ended and only waits for its parent to collect its status."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] in ("Z", "X")
