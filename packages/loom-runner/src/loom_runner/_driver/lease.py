"""Who this process is, whether another one is gone, and the heartbeat that keeps leases while steps are slow."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from loom_runner._model.records import Claim, Owner
from loom_runner.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from loom_runner._store.protocol import Store

__all__ = ["Heartbeat", "is_gone", "this_process"]


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


class Heartbeat:
    """Prolong leases from a thread, so that a step that blocks the event loop does not lose its run.

    The thread ends at the first beat that finds no claim to keep. A lease that turns out to be lost is reported
    once, from that thread.
    """

    def __init__(self, store: Store, every_s: float) -> None:
        self._store = store
        self._every_s = every_s
        self._wake = threading.Condition()
        self._claims: dict[Claim, Callable[[], None]] = {}
        self._thread: threading.Thread | None = None

    def keep(self, claim: Claim, on_lost: Callable[[], None]) -> None:
        with self._wake:
            self._claims[claim] = on_lost
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="loom-runner-heartbeat", daemon=True)
                self._thread.start()

    def drop(self, claim: Claim) -> None:
        with self._wake:
            self._claims.pop(claim, None)

    def _beat(self) -> None:
        while True:
            with self._wake:
                self._wake.wait(self._every_s)
                if not self._claims:
                    self._thread = None
                    return
                claims = list(self._claims)
            try:
                lost = self._store.renew(claims)
            except StoreError:
                # The next beat may succeed; if none does, the lease runs out and the next write says so.
                logging.getLogger("loom_runner").warning("a lease could not be prolonged", exc_info=True)
                continue
            for claim in lost:
                with self._wake:
                    report = self._claims.pop(claim, None)
                if report is not None:
                    report()
