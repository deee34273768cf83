"""The loop over the steps of a claimed run. Theory of operation:

*One step.* Take the state, run the program's transition with a new `RunContext` (`run_step`), and
commit its outcome: the step's row, the run's row with the new state, and the lease's end if the run
stops here, in one transaction. If a step does not return an outcome, only its tool ledger (see
`tool_ledger`) and a row for the failed attempt are committed.

*The lease is always released*, unless it is lost: every exception is recorded before it leaves this
module (see `endings`).

*Not covered.* A step that never awaits and never returns blocks its event loop; the heartbeat's
thread keeps its lease.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from loom_runner._driver.children import child_results
from loom_runner._model.outcomes import Spawn
from loom_runner._model.seconds import in_seconds
from loom_runner._model.waits import ChildrenWait, SignalWait
from loom_runner._program.context import RunContext, set_current_run
from loom_runner._program.run_step import NO_LIMITS, StepLimits, run_step
from loom_runner._program.running_run import Signal
from loom_runner._program.threads import forget_cancellation
from loom_runner._program.tool_calls import StepSuspended
from loom_runner.errors import BudgetTimeUsedUp, LeaseLost, StoreError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from loom_runner._driver.children import ChildRuns
    from loom_runner._driver.cursor import Cursor
    from loom_runner._driver.endings import Endings
    from loom_runner._driver.heartbeat import Heartbeat
    from loom_runner._driver.settings import Invocation, Settings
    from loom_runner._model.records import Claim
    from loom_runner._model.results import RunResult
    from loom_runner._model.writes import NewRun

__all__ = ["Stepper"]

_YIELD_EVERY_US: Final = 5_000
"""Steps that never suspend would block signals and other runs, so the driver yields to the event
loop this often.
"""


_MAX_RELEASE_S: Final = 1.0
"""How long a run that is being stopped waits for a locked database. Then its lease ends with the
process.
"""


@dataclass(slots=True)
class _Turn:
    """When the driver last yielded to an event loop, for all its runs together."""

    began_at: int


class Stepper:
    """Run the steps of claimed runs."""

    def __init__(self, settings: Settings, endings: Endings, children: ChildRuns, heartbeat: Heartbeat) -> None:
        self._settings = settings
        self._children = children
        self._endings = endings
        self._heartbeat = heartbeat
        self.unreleased: dict[str, tuple[Claim, str]] = {}
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turn] = WeakKeyDictionary()

    async def drive(self, cursor: Cursor, invocation: Invocation) -> RunResult:
        """Run steps until the run stops."""
        cursor.hold_s = invocation.hold_s
        self._heartbeat.keep(cursor.claim, cursor.report_loss)
        try:
            return await self._steps(cursor, invocation)
        except LeaseLost:
            raise
        except StoreError:
            self.unreleased[cursor.run_id] = cursor.claim, "stopped: the database could not be written"
            with contextlib.suppress(StoreError):
                await self.release(cursor.run_id)
            raise
        except asyncio.CancelledError:
            if cursor.is_lost:
                if cursor.task is not None:
                    cursor.task.uncancel()  # `Cursor.stop_step` cancelled it to stop the step
                raise cursor.lease_lost() from None
            await self._interrupt(cursor, "stopped")
            raise
        except GeneratorExit:  # the loop is closed; nothing can be waited for
            await self._endings.interrupt(cursor, "stopped by GeneratorExit")
            raise
        except BaseException as exc:
            is_signal = isinstance(exc, KeyboardInterrupt)
            await self._interrupt(cursor, f"stopped by {'a signal' if is_signal else type(exc).__name__}")
            raise
        finally:
            cursor.is_active = False
            self._heartbeat.drop(cursor.claim)
            set_current_run(None)

    async def claimed(self, write: Coroutine[Any, Any, Claim | None]) -> Claim | None:
        """Await the write of a claim. If this call is cancelled meanwhile, what it has claimed is
        released.
        """
        task = asyncio.ensure_future(write)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task], timeout=_MAX_RELEASE_S)
            if not task.done():  # the database is locked
                task.cancel()
            elif not task.cancelled() and task.exception() is None and (claim := task.result()) is not None:
                await self.give_back(claim)
            raise

    async def give_back(self, claim: Claim) -> None:
        """Release a run of which no step was begun, if the database allows it soon."""
        self.unreleased[claim.run_id] = claim, "stopped"
        with contextlib.suppress(TimeoutError, StoreError):
            async with asyncio.timeout(_MAX_RELEASE_S):
                await self.release(claim.run_id)

    async def release(self, run_id: str) -> None:
        """Release a run whose lease could not be released when the database failed, so that it is
        interrupted, and nobody has to wait until its lease expires.

        Raises:
            StoreError: The database still fails.
        """
        if run_id not in self.unreleased:
            return
        claim, note = self.unreleased[run_id]
        with contextlib.suppress(LeaseLost):
            await self._endings.release(claim, note)
        self.unreleased.pop(run_id, None)

    async def _interrupt(self, cursor: Cursor, note: str) -> None:
        """Release the lease of a run that is being stopped, if the database allows it soon."""
        with contextlib.suppress(TimeoutError, StoreError):
            async with asyncio.timeout(_MAX_RELEASE_S):
                await self._endings.interrupt(cursor, note)

    async def _steps(self, cursor: Cursor, invocation: Invocation) -> RunResult:
        settings, endings, meter = self._settings, self._endings, cursor.run.meter
        clock, program, observers = settings.clock, settings.program, cursor.run.observers
        is_limited = not meter.limit.is_unlimited
        is_timed = meter.limit.time_s is not None or settings.agent.step_timeout_s is not None
        cursor.max_steps = max_steps = invocation.max_steps
        cursor.last_step = None if max_steps is None else cursor.step_index + max_steps - 1
        turn = self._turns.setdefault(cursor.run.loop, _Turn(clock.now_us()))
        while True:
            if cursor.due_at is not None:
                left_s = (cursor.due_at - clock.now_us()) / 1_000_000
                if cursor.hold_s is not None and left_s > cursor.hold_s:
                    return await endings.back_off(cursor, cursor.due_at)
                await clock.sleep(max(0.0, left_s))
                cursor.due_at = None
            if is_limited and (reached := meter.reached) is not None:
                return await endings.limit(cursor, reached)
            started_at = clock.now_us()
            if started_at - turn.began_at > _YIELD_EVERY_US:
                await asyncio.sleep(0)
                turn.began_at = started_at = clock.now_us()
            if cursor.wait is None:
                context, signal_key = RunContext(cursor.run, cursor.step_index, cursor.attempt, None), None
            else:
                context, signal_key = await self._context_after_wait(cursor)
            cursor.context = context
            if observers:
                settings.notify(cursor, "step_started")
            children: tuple[tuple[NewRun, ...], ChildrenWait] | None = None
            try:
                limits = self._limits(cursor) if is_timed else NO_LIMITS
                advance = await run_step(program, cursor.state, context, limits)
                if isinstance(advance.suspension, Spawn):
                    children = await self._prepared(cursor, context, advance.suspension)
            except StepSuspended as suspended:
                return await endings.suspend(cursor, suspended)
            except BudgetTimeUsedUp as exc:
                context.close()
                return await endings.limit(cursor, exc.limit)
            except KeyboardInterrupt:
                context.close()
                raise
            except asyncio.CancelledError as exc:
                context.close()
                if cursor.is_lost or invocation.is_stopping is None or invocation.is_stopping():
                    raise
                forget_cancellation()
                own = RuntimeError(f"CancelledError: step {cursor.step_index} cancelled its own task")
                own.__traceback__ = exc.__traceback__
                ended = await endings.failed(cursor, started_at, own)
                if ended is not None:
                    return ended
            except BaseException as exc:
                if isinstance(exc, StoreError | LeaseLost) and exc is context.stopped:
                    raise  # of this store; one that the step's own code raises is an error of the step
                context.close()
                ended = await endings.failed(cursor, started_at, exc)
                if ended is not None:
                    return ended
                continue
            if advance.fail is not None:
                return await endings.fail(cursor, started_at, advance.fail)
            ended = await endings.commit(cursor, advance, started_at, signal_key, children)
            context.close()
            if ended is not None:
                return ended

    async def _prepared(
        self, cursor: Cursor, context: RunContext, spawn: Spawn[Any]
    ) -> tuple[tuple[NewRun, ...], ChildrenWait]:
        try:
            return await self._children.prepare(cursor, spawn)
        except (StoreError, LeaseLost) as exc:
            context.stop(exc)
            raise

    def _limits(self, cursor: Cursor) -> StepLimits:
        """Return how long a step may take: its timeout, and what remains of the budget's time."""
        meter = cursor.run.meter
        left, limit = meter.remaining.time_s, meter.limit.time_s
        return StepLimits(
            self._settings.agent.step_timeout_s,
            None if left is None else in_seconds(left),
            None if limit is None else in_seconds(limit),
        )

    async def _context_after_wait(self, cursor: Cursor) -> tuple[RunContext, int | None]:
        """Return the context of a step that begins after a wait, and the key of the signal that it
        receives.
        """
        signal, key, children = None, None, {}
        store, wait = self._settings.store, cursor.wait
        if isinstance(wait, SignalWait):
            pending = await store.signals(cursor.run_id, name=wait.signal)
            if pending:  # empty after a timeout
                signal, key = Signal(pending[0].name, json.loads(pending[0].payload)), pending[0].key
        elif isinstance(wait, ChildrenWait):
            children = await child_results(store, wait)
        return RunContext(cursor.run, cursor.step_index, cursor.attempt, signal, children), key
