"""The settings of one agent on one store, and the state of one call of `start` or `resume`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from loom_runner._model.events import EventKind, ObserverGroup, Observers, RunEvent
from loom_runner.errors import UsageError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Mapping

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
    """Whether the runs of this engine stop after their steps, because the process is about to
    end.
    """

    is_requested: bool = False


@dataclass(slots=True)
class Invocation:
    """The state of one call of `start` or `resume`.

    Attributes:
        max_steps: Steps that it may still run; None is no limit.
        wait_s: Seconds that it may still spend waiting for what a run waits for.
        hold_s: Seconds for which a run may be held until its next attempt is due; None is no limit.
            A run whose next attempt is due later is given back.
        listeners: Observers in addition to those of the driver's settings.
        children: The tasks that drive child runs.
        invocations: The invocation of each child run.
        resumed_at: The fence that each child had when it was last resumed; None if its wait was not
            over then.
        is_stopping: Whether the owner of the current task is cancelling it; if not, it is the step
            that cancels its own task. None if that is not known.
    """

    max_steps: int | None = None
    wait_s: float = 0.0
    hold_s: float | None = None
    listeners: tuple[Observers, ...] = ()
    children: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    invocations: dict[str, Invocation] = field(default_factory=dict)
    resumed_at: dict[str, int | None] = field(default_factory=dict)
    is_stopping: Callable[[], bool] | None = None

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

    def count_waits_of(self, children: Iterable[str]) -> None:
        """Count the time in which these children, which have not settled, have all waited."""
        left = [self.invocations[run_id].wait_s for run_id in children if run_id in self.invocations]
        self.wait_s = min(self.wait_s, max(left, default=self.wait_s))

    def for_child(self, *listeners: Observers) -> Invocation:
        """Return the invocation of a child, which may run as many steps as its parent may still
        run.
        """
        heard = (*self.listeners, *(each for each in listeners if all(each is not other for other in self.listeners)))
        return Invocation(self.max_steps, self.wait_s, self.hold_s, heard)

    def observers_with(self, own: Observers) -> Observers | ObserverGroup:
        """Return the observers of a run of a driver whose observers are `own`."""
        others = tuple(each for each in self.listeners if each is not own)
        return ObserverGroup((own, *others)) if others else own


class ChildDriver(Protocol):
    """The driver of a child run, as its parent's driver uses it."""

    @property
    def agent(self) -> Agent: ...

    async def resume(
        self, run_id: str, invocation: Invocation, budget: Budget | None = None, *, through_parent: bool = False
    ) -> RunResult: ...

    async def can_resume(self, record: RunRecord) -> bool: ...

    async def raise_budgets(self, record: RunRecord, remaining: Budget, raised: Budget) -> None: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of all runs of one agent on one store.

    Attributes:
        module: Returns the agent module as the user named it, for the commands in hints.
        children: Creates the driver of each program of child runs.
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
