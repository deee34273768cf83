"""The ends of attempts: what is committed, and the status of the run afterwards. Theory of
operation:

Each way a step can end is one function here and one transaction of the store. The statuses come
from the table in `_model/statuses.py`.

| the step | result |
|---|---|
| returns `Continue` | committed; `running`, or `paused` when `max_steps` is used up |
| returns `Complete` | committed; `completed` |
| returns `Wait`, `Sleep` or `Spawn` | committed; `waiting`, or `running` if the wait is over already |
| returns `Fail`, or raises an error that is not retried | an attempt row; `failed`, with the state before the step |
| raises an error that is retried | an attempt row with the time of the next attempt; `running` |
| is due again later than a worker holds a run | `waiting` for that time; the next attempt is resumed then |
| calls a tool that is in doubt, or needs an approval | `waiting`; the same attempt is resumed after the decision |
| begins when a budget is used up | `paused` with the error category `limit`; the step is not run |
| ends after a pause was requested | committed; `paused` |
| is cancelled (Ctrl-C, SIGTERM) | `paused`; `resume` runs the step again |
| disappears with its process | the next claim writes an attempt row `interrupted` |
| loses its lease, or its run is cancelled | nothing is written |
"""

from __future__ import annotations

import contextlib
import traceback
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loom_runner._model.clock import to_iso
from loom_runner._model.error_text import message_of
from loom_runner._model.outcomes import Sleep, Wait
from loom_runner._model.records import AttemptRecord, ErrorInfo
from loom_runner._model.results import RunResult
from loom_runner._model.retry import retry_after_s
from loom_runner._model.seconds import in_seconds
from loom_runner._model.statuses import CANCELLABLE, move
from loom_runner._model.waits import ChildrenWait, DecisionWait, RetryWait, SignalWait, TimerWait, WaitFacts, ready_at
from loom_runner._model.writes import AttemptEnd, Cancelling, StepCommit
from loom_runner.errors import (
    ApprovalTampered,
    PauseRequested,
    StateError,
    ToolCallMismatch,
    ToolFailed,
    UnknownTool,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from loom_runner._driver.children import ChildRuns
    from loom_runner._driver.cursor import Cursor
    from loom_runner._driver.settings import Settings
    from loom_runner._model.outcomes import Fail
    from loom_runner._model.records import Claim
    from loom_runner._model.retry import RetryPolicy
    from loom_runner._model.writes import NewRun
    from loom_runner._program.protocol import Advance, Program
    from loom_runner._program.tool_calls import StepSuspended

__all__ = ["Endings"]

_PACKAGE: Final = Path(__file__).parents[1]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER_RETRIED: Final = (StateError, UsageError, ToolCallMismatch, ApprovalTampered, UnknownTool)
"""Errors of the code, which would occur again in every attempt."""


class Endings:
    """The ends of attempts, for the runs of one agent."""

    def __init__(self, settings: Settings, children: ChildRuns) -> None:
        self._settings = settings
        self._children = children
        self._stop_request = settings.stop
        self._store = settings.store
        self._clock = settings.clock
        self._program = settings.program
        self._redact = settings.agent.redact
        self._retry = settings.agent.retry
        self._notify = settings.notify

    async def commit(
        self,
        cursor: Cursor,
        advance: Advance,
        started_at: int,
        signal_key: int | None,
        children: tuple[tuple[NewRun, ...], ChildrenWait] | None = None,
    ) -> RunResult | None:
        """Commit one step; return the result if the run stops here."""
        ended_at = max(started_at, self._clock.now_us())  # the clock may have been set back
        step_index = cursor.step_index
        step = StepCommit(
            step_index=step_index,
            outcome=advance.outcome,  # type: ignore[arg-type]  # `fail` was handled by the caller
            status="running",
            state=advance.state_text,
            started_at=started_at,
            ended_at=ended_at,
            attempts=cursor.attempt + 1,
            result=advance.result_text,
            signal_key=signal_key,
            keep=self._settings.agent.keep,
        )
        if advance.outcome == "complete":
            step.status, step.lease_end = move("running", "complete"), "completed"
            if self._settings.children:
                message = f"cancelled by {cursor.run_id}: its parent has ended"
                step.cancels = Cancelling(CANCELLABLE, ErrorInfo("Cancelled", message, "cancelled"))
        elif advance.suspension is not None:
            await self._wait(cursor, advance, step, children)
        if step_index == cursor.last_step and step.lease_end is None:
            step.status, step.lease_end, step.note = move("running", "pause"), "paused", f"max_steps {cursor.max_steps}"
        if self._stop_request.is_requested and step.lease_end is None:
            step.status, step.lease_end, step.note = move("running", "pause"), "interrupted", "asked to stop"
        meter = cursor.run.meter
        step.tokens, step.cost_usd = meter.tokens, meter.cost_usd
        if step.lease_end is not None:
            cursor.is_active = False
        try:
            await self._store.commit_step(cursor.claim, step)
        except PauseRequested:
            step.status, step.lease_end, step.note = move("running", "pause"), "paused", "a pause was requested"
            cursor.is_active = False
            await self._store.commit_step(cursor.claim, step)
        except StateError as exc:  # too large for this store; nothing was written
            cursor.is_active = True
            return await self.failed(cursor, started_at, exc)
        meter.mark_committed()
        meter.count_step(ended_at - started_at)
        cursor.step_index = step_index + 1
        if advance.state_text is not None:
            cursor.state, cursor.committed = advance.state, advance.state_text
        if cursor.run.observers:
            duration_ms = (ended_at - started_at) / 1000
            self._notify(
                cursor,
                "step_committed",
                step_index,
                outcome=advance.outcome,
                status=step.status,
                duration_ms=duration_ms,
            )
        cursor.attempt = cursor.tries_used = 0
        cursor.wait = step.wait
        if step.lease_end is None:
            return None
        self._notify(cursor, "run_ended", status=step.status, reason=step.note)
        return RunResult(
            cursor.run_id,
            step.status,
            cursor.step_index,
            cursor.state,
            result=advance.result,
            wait=None if step.wait is None else step.wait.as_json(),
        )

    async def _wait(
        self,
        cursor: Cursor,
        advance: Advance,
        step: StepCommit,
        children: tuple[tuple[NewRun, ...], ChildrenWait] | None,
    ) -> None:
        """Make a step the last one before a wait, unless the wait is over already."""
        suspension, facts = advance.suspension, WaitFacts()
        if isinstance(suspension, Wait):
            if suspension.timeout_s is not None:
                step.due_at = step.ended_at + int(in_seconds(suspension.timeout_s) * 1_000_000)
            step.wait = SignalWait(suspension.signal, step.due_at)
            step.note = f"signal {suspension.signal!r}"
            sent = await self._store.signals(cursor.run_id, name=suspension.signal)
            # The signal that this step has received is still listed, because this commit marks it.
            facts = WaitFacts(has_signal=any(waiting.key != step.signal_key for waiting in sent))
        elif isinstance(suspension, Sleep):
            step.due_at = _due_at(suspension, step.ended_at)
            step.wait = TimerWait(step.due_at)
            step.note = f"the time {to_iso(step.due_at)}"
        elif children is not None:
            step.children, step.wait = children
            step.note = f"{len(step.children)} child runs"
            facts = WaitFacts(settled=await self._children.settled(step.wait))
        if step.wait is None:
            raise AssertionError(advance)  # every suspension is one of the three above
        at = ready_at(step.wait, facts)
        if at is not None and at <= step.ended_at:
            step.due_at = step.note = None
        else:
            step.status, step.lease_end = move("running", "wait"), "waiting"

    # ------------------------------------------------------------------ attempts that do not commit

    async def failed(self, cursor: Cursor, started_at: int, exc: BaseException) -> RunResult | None:
        """Record a failed attempt; return the result if there is no further one."""
        now = max(started_at, self._clock.now_us())
        error = _describe(exc, self._program, self._redact)
        policy = self._policy_for(cursor, exc)
        cursor.tries_used += 1
        retry = not isinstance(exc, _NEVER_RETRIED) and cursor.tries_used < policy.max_attempts
        if not (retry and policy.retries(exc)):
            return await self._end_failed(cursor, started_at, now, error)
        delay_s = max(policy.delay_s(cursor.tries_used, self._clock.chance()), retry_after_s(exc, now) or 0.0)
        due_at = now + int(delay_s * 1_000_000)
        failed = self._attempt(cursor, started_at, now, error, due_at)
        meter = cursor.run.meter
        status = move("running", "retry")
        end = AttemptEnd(status, now, failed, due_at=due_at, tokens=meter.tokens, cost_usd=meter.cost_usd)
        await self._store.end_attempt(cursor.claim, end)
        meter.mark_committed()
        self._notify(cursor, "attempt_failed", error=error.as_json(), retry_in_s=delay_s)
        self._discard_changes(cursor)
        cursor.attempt += 1
        cursor.due_at = due_at
        return None

    async def back_off(self, cursor: Cursor, due_at: int) -> RunResult:
        """Give a run back until its next attempt is due."""
        wait = RetryWait(cursor.attempt, due_at, cursor.wait)
        note = f"attempt {cursor.attempt} at {to_iso(due_at)}"
        status = move("running", "back_off")
        end = AttemptEnd(status, self._clock.now_us(), wait=wait, due_at=due_at, lease_end="waiting", note=note)
        return await self._stop(cursor, end)

    def _policy_for(self, cursor: Cursor, exc: BaseException) -> RetryPolicy:
        """Return the policy of the tool that failed the step, if it has its own."""
        if isinstance(exc, ToolFailed) and cursor.context is not None:
            return cursor.context.retry_policy(exc.tool) or self._retry
        return self._retry

    def _discard_changes(self, cursor: Cursor) -> None:
        """Read the committed state again: an attempt may have changed its object in place."""
        cursor.state = self._program.read_state(cursor.committed)

    async def fail(self, cursor: Cursor, started_at: int, fail: Fail) -> RunResult:
        error = ErrorInfo("Fail", fail.message, fail.error_category, self._program.code_at)
        return await self._end_failed(cursor, started_at, self._clock.now_us(), error)

    async def _end_failed(self, cursor: Cursor, started_at: int, now: int, error: ErrorInfo) -> RunResult:
        failed = self._attempt(cursor, started_at, now, error, None)
        self._notify(cursor, "attempt_failed", error=error.as_json(), retry_in_s=None)
        return await self._stop(
            cursor, AttemptEnd(move("running", "fail"), now, failed=failed, error=error, lease_end="failed")
        )

    async def suspend(self, cursor: Cursor, suspended: StepSuspended) -> RunResult:
        """Let the run wait for decisions about calls in doubt, and about calls that need an
        approval.
        """
        run_id, now = cursor.run_id, self._clock.now_us()
        notes = []
        if suspended.doubt is not None:
            notes.append(f"a decision about {run_id}#{suspended.doubt}")
        known = await self._store.approvals(run_id) if suspended.asks or suspended.pending else []
        latest = max((row.number for row in known), default=0)
        asks = tuple(replace(ask, number=number) for number, ask in enumerate(suspended.asks, latest + 1))
        waiting = [row for row in known if row.number in suspended.pending] + list(asks)
        due_at: int | None = None
        if waiting:
            expiries = [row.expires_at for row in waiting if row.expires_at is not None]
            due_at = max(expiries) if len(expiries) == len(waiting) else None
            notes.append(f"the approval of {', '.join(row.name for row in waiting)}")
        wait = DecisionWait(suspended.doubt, tuple(row.number for row in waiting), due_at, cursor.wait)
        note = " and ".join(notes)
        end = AttemptEnd(
            move("running", "ask"), now, wait=wait, due_at=due_at, lease_end="waiting", note=note, asks=asks
        )
        return await self._stop(cursor, end)

    async def park(self, cursor: Cursor, crashes: int) -> RunResult:
        message = f"step {cursor.step_index} crashed its process {crashes} times"
        error = ErrorInfo("Parked", message, "crashes", self._program.code_at)
        end = AttemptEnd(move("running", "park"), self._clock.now_us(), error=error, lease_end="parked")
        return await self._stop(cursor, end)

    async def limit(self, cursor: Cursor, reached: str) -> RunResult:
        """Pause a run whose budget is used up; its next step has not begun, or is discarded."""
        error = ErrorInfo("BudgetUsedUp", f"the budget of {reached} is used up", "limit", self._program.code_at)
        end = AttemptEnd(
            move("running", "limit"), self._clock.now_us(), error=error, lease_end="paused", note=error.message
        )
        return await self._stop(cursor, end)

    async def interrupt(self, cursor: Cursor, note: str) -> None:
        if cursor.is_active:
            await self._stop(
                cursor,
                AttemptEnd(
                    move("running", "interrupt"),
                    self._clock.now_us(),
                    due_at=cursor.due_at,
                    lease_end="interrupted",
                    note=note,
                ),
            )

    async def release(self, claim: Claim, note: str) -> None:
        """Release a lease after the database has failed, if the run is still held by it: the write
        that failed may have been committed.
        """
        record = await self._store.get_run(claim.run_id)
        if record is not None and record.status == "running" and record.fence == claim.fence:
            end = AttemptEnd(
                move("running", "interrupt"),
                self._clock.now_us(),
                due_at=record.due_at,
                lease_end="interrupted",
                note=note,
            )
            await self._store.end_attempt(claim, end)

    async def _stop(self, cursor: Cursor, end: AttemptEnd) -> RunResult:
        cursor.is_active = False
        if cursor.context is not None:
            cursor.context.close()
        meter = cursor.run.meter
        if meter.tokens or meter.cost_usd:
            end = replace(end, tokens=meter.tokens, cost_usd=meter.cost_usd)
        await self._store.end_attempt(cursor.claim, end)
        meter.mark_committed()
        with contextlib.suppress(StateError):  # the attempt has ended; the state is decoded again on resume
            self._discard_changes(cursor)
        self._notify(cursor, "run_ended", status=end.status, reason=end.note)
        wait = end.wait or cursor.wait
        return RunResult(
            cursor.run_id,
            end.status,
            cursor.step_index,
            cursor.state,
            error=end.error,
            wait=None if wait is None else wait.as_json(),
        )

    @staticmethod
    def _attempt(cursor: Cursor, started_at: int, now: int, error: ErrorInfo, retry_at: int | None) -> AttemptRecord:
        return AttemptRecord(
            cursor.step_index, cursor.attempt, "failed", started_at, now, error, retry_at, cursor.claim.fence
        )


def _due_at(sleep: Sleep[Any], now: int) -> int:
    if sleep.until is not None:
        since = sleep.until - _EPOCH
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return now + int(in_seconds(sleep.delay_s or 0) * 1_000_000)


def _describe(exc: BaseException, program: Program, redact: Callable[[Any], Any] | None) -> ErrorInfo:
    """Describe an exception: category, line of the user's code, and traceback without frames of
    this package.
    """
    category = _category(exc)
    frames = [frame for frame in traceback.extract_tb(exc.__traceback__) if not _is_ours(frame.filename)]
    file = program.code_at.partition(":")[0]
    own = [frame for frame in frames if Path(frame.filename).name == file] or frames
    where = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else program.code_at
    text = "".join(traceback.format_list(frames[-20:])) if frames else None
    message = message_of(exc)
    if redact is not None:
        message, text = str(redact(message)), redact(text)
    return ErrorInfo(type(exc).__name__, message, category, where, text)


def _category(exc: BaseException) -> str:
    with contextlib.suppress(Exception):  # a property of the user's class
        category = getattr(exc, "error_category", None)
        if category and isinstance(category, str):
            return category
    return "state" if isinstance(exc, StateError) else "error"


def _is_ours(filename: str) -> bool:
    """Return whether a frame belongs to this package or asyncio."""
    path = Path(filename)
    is_private = _PACKAGE in path.parents and path.relative_to(_PACKAGE).parts[0].startswith("_")
    return is_private or path.parent.name == "asyncio"
