"""Events that the driver sends to observers. Without observers they cost nothing, and an observer
cannot break a run.

| kind | step | data |
|---|---|---|
| `run_started` | the step to run next | `status` (before), `fence`, `taken_over_from` (pid or None) |
| `step_started` | yes | |
| `step_committed` | yes | `outcome`, `status`, `duration_ms` |
| `attempt_failed` | yes | `error`, `retry_in_s` (None when there is no retry) |
| `tool_started` | yes | `key`, `name`, `try` (from 1), `arguments` |
| `tool_finished` | yes | `key`, `name`, `try`, `status`, `recorded` (not run), `result` or `error`, `duration_ms` |
| `emitted` | yes | `event`: the argument of `ctx.emit` |
| `run_ended` | the step to run next | `status`, `reason` |
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from loom_runner.errors import UsageError

__all__ = ["EventKind", "Observer", "ObserverGroup", "Observers", "RunEvent"]

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
    """An event. `at_us` is microseconds since 1970; `data` has the members listed above."""

    kind: EventKind
    run_id: str
    step_index: int
    attempt: int
    at_us: int
    data: Mapping[str, Any]


Observer = Callable[[RunEvent], None]


class Observers:
    """The observers of one engine. One that raises is logged once and not called again."""

    __slots__ = ("_observers",)

    def __init__(self, observers: tuple[Observer, ...] = ()) -> None:
        self._observers = list(observers)

    def __bool__(self) -> bool:
        return bool(self._observers)

    def add(self, observer: Observer) -> Callable[[], None]:
        """Add an observer; the returned function removes it."""
        if not callable(observer):
            raise UsageError(f"cannot observe: {observer!r:.60} is not a function. Pass one that takes an event.")
        self._observers.append(observer)
        return lambda: self._observers.remove(observer) if observer in self._observers else None

    def notify(self, event: RunEvent) -> None:
        for observer in tuple(self._observers):
            try:
                observer(event)
            except Exception:
                self._observers.remove(observer)
                logging.getLogger("loom_runner").warning("an observer failed and is not called again", exc_info=True)


class ObserverGroup:
    """The observers of several engines: that of a child run, and those of its ancestors."""

    __slots__ = ("_all",)

    def __init__(self, observers: tuple[Observers, ...]) -> None:
        self._all = observers

    def __bool__(self) -> bool:
        return any(self._all)

    def notify(self, event: RunEvent) -> None:
        for each in self._all:
            each.notify(event)
