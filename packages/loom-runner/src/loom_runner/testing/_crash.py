"""Crashes at named points. The points are those of every write of the driver to the store.

`commit_step.before` kills the process before the write, `commit_step.inside` after its statements
and before its COMMIT, `commit_step.after` when it is durable and before the driver continues; the
same for every write.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from loom_runner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from loom_runner._store.sqlite.store import SQLiteStore

__all__ = ["CRASH_POINTS", "CrashingStore", "crash_at"]

_WRITES: Final = (
    "create_run",
    "claim_run",
    "commit_step",
    "end_attempt",
    "start_tool",
    "restart_tool",
    "end_tool",
    "decide_tool",
    "update_approval",
    "send_signal",
    "cancel_runs",
    "request_pause",
    "add_run",
    "set_budget",
    "replace_state",
)
CRASH_POINTS: Final = tuple(f"{write}.{when}" for write in _WRITES for when in ("before", "inside", "after"))
"""Every point at which `crash_at` can end the process."""


def die() -> None:
    """End this process with SIGKILL."""
    os.kill(os.getpid(), signal.SIGKILL)


class CrashingStore:
    """A SQLite store that calls `crash` when one of its writes reaches a point for the `nth`
    time.
    """

    def __init__(self, store: SQLiteStore, point: str, *, nth: int = 1, crash: Callable[[], None] = die) -> None:
        if point not in CRASH_POINTS:
            raise UsageError(f"cannot crash at {point!r}: the points are {', '.join(CRASH_POINTS)}.")
        self._store = store
        self._point = point
        self._nth = nth
        self._crash = crash
        self._hits: Counter[str] = Counter()
        self._running: list[str] = []
        store.on_commit(self._reach_inside)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in _WRITES:
            return found

        async def write(*args: Any, **kwargs: Any) -> Any:
            self._reach(f"{name}.before")
            self._running.append(name)
            try:
                result = await found(*args, **kwargs)
            finally:
                self._running.remove(name)
            self._reach(f"{name}.after")
            return result

        return write

    def _reach_inside(self) -> None:
        for name in tuple(self._running):  # concurrent writes share a transaction
            self._reach(f"{name}.inside")

    def _reach(self, point: str) -> None:
        self._hits[point] += 1
        if point == self._point and self._hits[point] == self._nth:
            self._crash()


def crash_at(store: SQLiteStore, point: str, *, nth: int = 1, crash: Callable[[], None] = die) -> Any:
    """Wrap a store so that the process is killed (SIGKILL) when a write reaches `point` for the
    `nth` time.

    Args:
        point: One of `CRASH_POINTS`.
        crash: Called there instead of SIGKILL.

    Returns:
        The wrapped store, for `AgentRunner(store=...)`.
    """
    return CrashingStore(store, point, nth=nth, crash=crash)
