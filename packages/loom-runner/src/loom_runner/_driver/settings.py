"""What the parts of the driver share: the settings of one agent on one store, and one call of `start` or `resume`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from loom_runner._model.events import EventKind, ObserverGroup, Observers, RunEvent
from loom_runner.errors import UsageError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from loom_runner._driver.cursor import Cursor
    from loom_runner._model.budget import Budget
    from loom_runner._model.clock import Clock
    from loom_runner._model.records import RunRecord
    from loom_runner._model.results import RunResult
    from loom_runner._program.agent import Agent
    from loom_runner._program.protocol import Program
    from loom_runner._store.protocol import Store

__all__ = ["ChildDriver", "Invocation", "Settings", "StopRequest"]


@dataclass(slots=True)
class StopRequest:
    """Whether the runs of this engine shall stop after their steps, because the process is about to end."""

    is_requested: bool = False


@dataclass(slots=True)
class Invocation:
    """One call of `start` or `resume`: how far it may still go, who listens, and the child runs that it drives.

    Attributes:
        max_steps: Steps that it may still run; None is no limit.
        wait_s: Seconds that it may still spend on timers.
        listeners: Observers beside those of the driver's own settings.
        children: The tasks that drive child runs.
        invocations: The same as this, for each child.
        resumed_at: The fence that each child had when it was last resumed.
    """

    max_steps: int | None = None
    wait_s: float = 0.0
    listeners: tuple[Observers, ...] = ()
    children: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    invocations: dict[str, Invocation] = field(default_factory=dict)
    resumed_at: dict[str, int] = field(default_factory=dict)

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

    def count_steps(self, steps: int) -> None:
        if self.max_steps is not None:
            self.max_steps -= steps

    def for_child(self, *listeners: Observers) -> Invocation:
        """The same for a child: it may run as many steps as its parent may still run."""
        heard = (*self.listeners, *(each for each in listeners if all(each is not other for other in self.listeners)))
        return Invocation(self.max_steps, self.wait_s, heard)

    def observers_with(self, own: Observers) -> Observers | ObserverGroup:
        """Who listens to a run of a driver whose observers are `own`."""
        others = tuple(each for each in self.listeners if each is not own)
        return ObserverGroup((own, *others)) if others else own


class ChildDriver(Protocol):
    """What drives the child runs of one agent: a driver, as a parent's driver sees it."""

    @property
    def agent(self) -> Agent: ...

    async def resume(self, run_id: str, invocation: Invocation, budget: Budget | None = None) -> RunResult: ...

    async def can_resume(self, record: RunRecord) -> bool: ...

    async def raise_budgets(self, record: RunRecord, remaining: Budget, raised: Budget) -> None: ...

    def is_same_input(self, record: RunRecord, text: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """What all runs of one agent on one store share.

    Attributes:
        module: The agent module as its caller named it, for hints that can be pasted.
        children: Makes the driver of each program of child runs.
    """

    agent: Agent
    store: Store
    observers: Observers
    clock: Clock
    lease_s: float
    max_crashes: int
    module: Callable[[], str | None] = lambda: None
    children: Mapping[str, Callable[[], ChildDriver]] = field(default_factory=dict)
    stop: StopRequest = field(default_factory=StopRequest)

    @property
    def program(self) -> Program:
        return self.agent.program

    def notify(self, cursor: Cursor, kind: EventKind, step_index: int | None = None, /, **data: Any) -> None:
        observers = cursor.run.observers
        if observers:
            index = cursor.step_index if step_index is None else step_index
            observers.notify(RunEvent(kind, cursor.run_id, index, cursor.attempt, self.clock.now_us(), data))
