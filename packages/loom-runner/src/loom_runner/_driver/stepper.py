"""The loop of a claimed run: one step after the other, until one ends the slice. Theory of operation:

*One step.* Take the state in hand, run the program's transition with a fresh `RunContext`, and commit what it came
to: the step's row, the run's row with the new state, the lease's end if this was the last step of the slice, in one
transaction. Then the next. Nothing is committed of a step that did not return an outcome, except its tool ledger
(see `_ledger`), and a row for a failed attempt.

*Whatever happens, the lease is given back*, unless it is lost: an exception that leaves this module has been written
down first. `_ending` knows how.

*Not covered.* A step that never awaits and never returns blocks its event loop; its lease is kept by the
heartbeat's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Final

from loom_runner._driver.children import child_results
from loom_runner._driver.ledger import StepParked
from loom_runner._model.outcomes import Spawn
from loom_runner._program.context import RunContext, Signal, entered
from loom_runner.errors import LeaseLost, StoreError

if TYPE_CHECKING:
    from loom_runner._driver.children import Family
    from loom_runner._driver.cursor import Cursor, Settings
    from loom_runner._driver.endings import Endings
    from loom_runner._driver.heartbeat import Heartbeat
    from loom_runner._model.result import RunResult
    from loom_runner._program.program import Advance

__all__ = ["Stepper"]

_YIELD_EVERY_US: Final = 5_000
"""A step that never suspends would keep signals and other runs waiting; the driver lets the loop turn this often."""


class _TimeIsUsedUp(Exception):  # noqa: N818  (it ends an attempt, and is no error of the step)
    """The step was stopped because the budget's time is over."""

    def __init__(self, limit: str) -> None:
        super().__init__(limit)
        self.limit = limit


class Stepper:
    """Run the steps of claimed runs."""

    def __init__(self, settings: Settings, endings: Endings, family: Family, heartbeat: Heartbeat) -> None:
        self._settings = settings
        self._family = family
        self._endings = endings
        self._heartbeat = heartbeat

    async def drive(self, cursor: Cursor, max_steps: int | None) -> RunResult:
        self._heartbeat.keep(cursor.claim, cursor.lost_elsewhere)
        try:
            return await self._steps(cursor, max_steps)
        except LeaseLost:
            raise
        except StoreError:
            # Give the lease back if the store lets us, so that nobody has to wait for it to run out.
            with contextlib.suppress(StoreError, LeaseLost):
                await self._endings.interrupt(cursor, "stopped: the database could not be written")
            raise
        except asyncio.CancelledError:
            if cursor.is_lost:
                if cursor.task is not None:
                    cursor.task.uncancel()  # it was our own way to stop the step
                raise cursor.lease_lost() from None
            await self._endings.interrupt(cursor, "stopped")
            raise
        except BaseException as exc:
            await self._endings.interrupt(cursor, f"stopped by {type(exc).__name__}")
            raise
        finally:
            cursor.is_active = False
            self._heartbeat.drop(cursor.claim)
            entered(None)

    async def _steps(self, cursor: Cursor, max_steps: int | None) -> RunResult:
        settings, endings, meter = self._settings, self._endings, cursor.run.meter
        clock, program, observers = settings.clock, settings.program, cursor.run.observers
        is_limited = not meter.limit.is_unlimited
        is_timed = meter.limit.time_s is not None or settings.step_timeout_s is not None
        cursor.max_steps = max_steps
        cursor.last_step = None if max_steps is None else cursor.step_index + max_steps - 1
        yielded_at = clock.now_us()
        while True:
            if cursor.due_at is not None:
                await clock.sleep(max(0.0, (cursor.due_at - clock.now_us()) / 1_000_000))
                cursor.due_at = None
            if is_limited and (reached := meter.reached) is not None:
                return await endings.limit(cursor, reached)
            signal, signal_key = None, None
            started_at = clock.now_us()
            if started_at - yielded_at > _YIELD_EVERY_US:
                await asyncio.sleep(0)
                yielded_at = started_at = clock.now_us()
            if cursor.wait is None:
                context = RunContext(cursor.run, cursor.step_index, cursor.attempt, None)
            else:
                signal, signal_key = self._signal(cursor)
                children = child_results(settings, cursor.wait) if "children" in cursor.wait else {}
                context = RunContext(cursor.run, cursor.step_index, cursor.attempt, signal, children)
            cursor.context = context
            entered(context)
            if observers:
                settings.tell(cursor, "step_started")
            try:
                if is_timed:
                    advance = await self._in_time(cursor, context, started_at)
                else:
                    advance = await program.advance(cursor.state, context)
                if context.has_calls_in_flight:
                    await context.settle()
                if context.stopped is not None:
                    raise context.stopped
                if isinstance(advance.parks, Spawn):
                    advance.children, advance.waits_for = self._family.prepared(cursor, advance.parks)
            except (Exception, SystemExit) as exc:
                if context.stopped is None:
                    if isinstance(exc, StoreError | LeaseLost):
                        raise
                    context.close()
                    if isinstance(exc, _TimeIsUsedUp):
                        return await endings.limit(cursor, exc.limit)
                    ended = await endings.failed(cursor, started_at, exc)
                    if ended is not None:
                        return ended
                    continue
                if isinstance(context.stopped, StepParked):
                    return await endings.ask(cursor, context.stopped)
                raise context.stopped from exc
            except BaseException as exc:
                if isinstance(context.stopped, StepParked) and not isinstance(exc, asyncio.CancelledError):
                    return await endings.ask(cursor, context.stopped)
                context.close()
                raise
            if advance.fail is not None:
                return await endings.gave_up(cursor, started_at, advance.fail)
            ended = await endings.commit(cursor, advance, started_at, signal_key)
            context.close()
            if ended is not None:
                return ended

    async def _in_time(self, cursor: Cursor, context: RunContext, started_at: int) -> Advance:
        """Run a step that may not take longer than its time-out, or than what is left of the budget's time."""
        settings, meter = self._settings, cursor.run.meter
        left_s, timeout_s = meter.remaining.time_s, settings.step_timeout_s
        limit_s = min(each for each in (left_s, timeout_s) if each is not None)
        context.due_us = started_at + int(limit_s * 1_000_000)
        limit = asyncio.timeout(limit_s)
        try:
            async with limit:
                return await settings.program.advance(cursor.state, context)
        except TimeoutError as exc:
            if not limit.expired():
                raise
            if left_s is not None and limit_s == left_s:
                raise _TimeIsUsedUp(f"time_s {meter.limit.time_s:g}") from exc
            raise TimeoutError(f"step {cursor.step_index} took longer than {limit_s:g} s") from exc

    def _signal(self, cursor: Cursor) -> tuple[Signal | None, int | None]:
        """The signal that ended the wait before this step; nothing after a time-out."""
        name = (cursor.wait or {}).get("signal")
        pending = self._settings.store.signals(cursor.run_id, name=name) if name else []
        if not pending:
            return None, None
        first = pending[0]
        return Signal(first.name, json.loads(first.payload)), first.key
