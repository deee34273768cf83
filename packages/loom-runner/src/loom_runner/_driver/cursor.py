"""What the parts of the driver share: the settings of one runner, and a claimed run in this process's hands.

The driver is four modules, and each uses only those below it: `_driver` begins (create, claim, attach), `_stepping`
runs the steps one by one, `_ending` writes down how each attempt ended, and this one holds the data.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loom_runner._model.events import Audience, EventKind, Observers, RunEvent
from loom_runner.errors import LeaseLost, UsageError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from loom_runner._driver.driver import Driver
    from loom_runner._model.clock import Clock
    from loom_runner._model.records import Claim
    from loom_runner._model.retention import Keep
    from loom_runner._model.retry import RetryPolicy
    from loom_runner._program.context import RunContext, RunningRun
    from loom_runner._program.gate import Gate
    from loom_runner._program.program import Program
    from loom_runner._program.tools import ToolRegistry
    from loom_runner._store.protocol import Store

__all__ = ["Cursor", "Settings"]


@dataclass(slots=True)
class Cursor:
    """A claimed run in this process's hands: what the next step needs."""

    claim: Claim
    run: RunningRun
    task: asyncio.Task[Any] | None
    step_index: int
    state: Any
    attempt: int
    tries_used: int = 0
    due_at: int | None = None
    wait: dict[str, Any] | None = None
    context: RunContext | None = None
    max_steps: int | None = None
    last_step: int | None = None
    is_active: bool = True
    is_lost: bool = False

    @property
    def run_id(self) -> str:
        return self.run.run_id

    def lost_elsewhere(self) -> None:
        """Hear from the heartbeat's thread that the lease is gone."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the run is over anyhow
            self.run.loop.call_soon_threadsafe(self.lost)

    def lost(self) -> None:
        """Stop the step: the heartbeat found that the lease is gone."""
        if self.is_active:
            self.is_lost = True
            if self.context is not None:
                self.context.stop(self.lease_lost())
            if self.task is not None:
                self.task.cancel()  # taken back by the stepper, which turns it into `lease_lost`

    def lease_lost(self) -> LeaseLost:
        return LeaseLost(
            f"cannot go on with {self.run_id!r}: another process took the run over while step {self.step_index} ran. "
            "Nothing of the step was written; look with loom-runner explain.",
            run_id=self.run_id,
            step_index=self.step_index,
        )


@dataclass(slots=True)
class Stop:
    """Whether the runs of this runner shall stop after their steps, because the process is about to end."""

    is_asked: bool = False


@dataclass(slots=True)
class Visit:
    """One call of `start` or `resume`: how far it may still go, who listens, and the children that it drives.

    `visits` are the same for its children; `left_at` are their fences when they were last gone on with.
    """

    max_steps: int | None = None
    wait_s: float = 0.0
    listeners: tuple[Observers, ...] = ()
    children: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    visits: dict[str, Visit] = field(default_factory=dict)
    left_at: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.max_steps is not None and self.max_steps < 1:
            raise UsageError(
                f"cannot run {self.max_steps} steps: max_steps starts at 1; leave it out to run until done."
            )
        if not self.wait_s >= 0:
            raise UsageError(f"cannot wait {self.wait_s} s: wait_s starts at 0.")

    @property
    def is_used_up(self) -> bool:
        return self.max_steps == 0

    def stepped(self, steps: int) -> None:
        if self.max_steps is not None:
            self.max_steps -= steps

    def for_child(self, *listeners: Observers) -> Visit:
        """The same for a child: it may make as many steps as its parent may still make."""
        heard = (*self.listeners, *(each for each in listeners if all(each is not other for other in self.listeners)))
        return Visit(self.max_steps, self.wait_s, heard)

    def audience(self, own: Observers) -> Observers | Audience:
        """Who listens to a run of a runner whose observers are `own`."""
        others = tuple(each for each in self.listeners if each is not own)
        return Audience((own, *others)) if others else own


@dataclass(frozen=True, slots=True)
class Settings:
    """What all runs of one runner share."""

    program: Program
    store: Store
    tools: ToolRegistry
    retry: RetryPolicy
    observers: Observers
    clock: Clock
    lease_s: float
    max_crashes: int
    gate: Gate | None = None
    module: Callable[[], str | None] = lambda: None
    children: Mapping[str, Callable[[], Driver]] = field(default_factory=dict)
    step_timeout_s: float | None = None
    keep: Keep | None = None
    stop: Stop = field(default_factory=Stop)

    def tell(self, cursor: Cursor, kind: EventKind, step_index: int | None = None, /, **data: Any) -> None:
        observers = cursor.run.observers
        if observers:
            index = cursor.step_index if step_index is None else step_index
            observers.tell(RunEvent(kind, cursor.run_id, index, cursor.attempt, self.clock.now_us(), data))
