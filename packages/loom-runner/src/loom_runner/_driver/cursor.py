"""A claimed run while this process drives it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loom_runner.errors import LeaseLost

if TYPE_CHECKING:
    import asyncio

    from loom_runner._model.records import Claim
    from loom_runner._model.waits import WaitFor
    from loom_runner._program.context import RunContext
    from loom_runner._program.running_run import RunningRun

__all__ = ["Cursor"]


@dataclass(slots=True)
class Cursor:
    """A claimed run and its position.

    Attributes:
        state: The value that the next attempt is given.
        committed: The committed state, as JSON.
        attempt: The attempt of the step, from 0, over all processes.
        tries_used: Failed attempts that count against the retry policy.
        due_at: When the next attempt may begin (microseconds since 1970).
        hold_s: How long the run may be held until then; None is no limit.
        wait: The wait that ended before the step.
        last_step: The last step of this slice.
        is_active: The lease is held.
        is_lost: The lease was lost while a step ran.
    """

    claim: Claim
    run: RunningRun
    task: asyncio.Task[Any] | None
    step_index: int
    state: Any
    committed: str
    attempt: int
    tries_used: int = 0
    due_at: int | None = None
    hold_s: float | None = None
    wait: WaitFor | None = None
    context: RunContext | None = None
    max_steps: int | None = None
    last_step: int | None = None
    is_active: bool = True
    is_lost: bool = False

    @property
    def run_id(self) -> str:
        return self.run.run_id

    def report_loss(self) -> None:
        """Stop the step, because the lease is lost. Called on the heartbeat's thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, so no step is running
            self.run.loop.call_soon_threadsafe(self.stop_step)

    def stop_step(self) -> None:
        """Stop the step, because the lease is lost."""
        if self.is_active:
            self.is_lost = True
            if self.context is not None:
                self.context.stop(self.lease_lost())
            if self.task is not None:
                self.task.cancel()  # undone by the stepper, which turns it into `lease_lost`

    def lease_lost(self) -> LeaseLost:
        return LeaseLost(
            f"cannot continue {self.run_id!r}: another process took the run over while step {self.step_index} ran. "
            "Nothing of the step was written; see loom-runner explain.",
            run_id=self.run_id,
            step_index=self.step_index,
        )
