"""What the driver tells observers. Plain data, one class; free when nobody listens, and unable to break a run.

| kind | step | data |
|---|---|---|
| `run_started` | the step to run next | `status` (before), `fence`, `taken_over_from` (pid or None) |
| `step_started` | yes | |
| `step_committed` | yes | `outcome`, `status`, `duration_ms` |
| `attempt_failed` | yes | `error`, `retry_in_s` (None when there is no retry) |
| `tool_started` | yes | `key`, `name`, `try` (from 1), `arguments` |
| `tool_finished` | yes | `key`, `name`, `try`, `status`, `recorded` (not run), `result` or `error`, `duration_ms` |
| `emitted` | yes | `event`: what the step gave to `ctx.emit` |
| `run_ended` | the step to run next | `status`, `reason` |
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Audience", "EventKind", "Observer", "Observers", "RunEvent"]

EventKind = Literal[
    "run_started",
    "step_started",
    "step_committed",
    "attempt_failed",
    "tool_started",
    "tool_finished",
    "emitted",
    "run_ended",
]


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One thing that happened. `at_us` is microseconds since 1970; `data` holds what the table above lists."""

    kind: EventKind
    run_id: str
    step_index: int
    attempt: int
    at_us: int
    data: Mapping[str, Any]


Observer = Callable[[RunEvent], None]


class Observers:
    """The listeners of one runner. One that raises is reported once and not called again."""

    __slots__ = ("_listeners",)

    def __init__(self, listeners: tuple[Observer, ...] = ()) -> None:
        self._listeners = list(listeners)

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def add(self, listener: Observer) -> Callable[[], None]:
        """Listen from now on; the returned function stops that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def tell(self, event: RunEvent) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:
                self._listeners.remove(listener)
                logging.getLogger("loom_runner").warning("an observer failed and is not called again", exc_info=True)


class Audience:
    """The observers of several runners: those of a child run's own runner, and of its parents'."""

    __slots__ = ("_all",)

    def __init__(self, observers: tuple[Observers, ...]) -> None:
        self._all = observers

    def __bool__(self) -> bool:
        return any(self._all)

    def tell(self, event: RunEvent) -> None:
        for each in self._all:
            each.tell(event)
