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

from loom_runner._context import RunContext, Signal, entered
from loom_runner._errors import LeaseLost, StoreError
from loom_runner._ledger import StepParked

if TYPE_CHECKING:
    from loom_runner._cursor import Cursor, Settings
    from loom_runner._ending import Endings
    from loom_runner._lease import Heartbeat
    from loom_runner._result import RunResult

__all__ = ["Stepper"]

_YIELD_EVERY_US: Final = 5_000
"""A step that never suspends would keep signals and other runs waiting; the driver lets the loop turn this often."""


class Stepper:
    """Run the steps of claimed runs."""

    def __init__(self, settings: Settings, endings: Endings, heartbeat: Heartbeat) -> None:
        self._settings = settings
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
        settings = self._settings
        clock, program, observers, endings = settings.clock, settings.program, settings.observers, self._endings
        cursor.max_steps = max_steps
        cursor.last_step = None if max_steps is None else cursor.step_index + max_steps - 1
        yielded_at = clock.now_us()
        while True:
            if cursor.due_at is not None:
                await clock.sleep(max(0.0, (cursor.due_at - clock.now_us()) / 1_000_000))
                cursor.due_at = None
            signal, signal_key = self._signal(cursor) if cursor.wait is not None else (None, None)
            started_at = clock.now_us()
            if started_at - yielded_at > _YIELD_EVERY_US:
                await asyncio.sleep(0)
                yielded_at = started_at = clock.now_us()
            context = cursor.context = RunContext(cursor.run, cursor.step_index, cursor.attempt, signal)
            entered(context)
            if observers:
                settings.tell(cursor, "step_started")
            try:
                advance = await program.advance(cursor.state, context)
                if context.has_calls_in_flight:
                    await context.settle()
                if context.stopped is not None:
                    raise context.stopped
            except Exception as exc:
                if context.stopped is None:
                    if isinstance(exc, StoreError | LeaseLost):
                        raise
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

    def _signal(self, cursor: Cursor) -> tuple[Signal | None, int | None]:
        """The signal that ended the wait before this step; nothing after a time-out."""
        name = (cursor.wait or {}).get("signal")
        pending = self._settings.store.signals(cursor.run_id, name=name) if name else []
        if not pending:
            return None, None
        first = pending[0]
        return Signal(first.name, json.loads(first.payload)), first.key
