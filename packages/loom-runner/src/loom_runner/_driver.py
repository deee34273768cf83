"""The driver: it claims a run, runs its steps one by one, and commits each. Theory of operation:

*One step.* Take the state in hand, run the program's transition with a fresh `RunContext`, and commit what it came
to: the step's row, the run's row with the new state, the lease's end if this was the last step of the slice, in one
transaction. Then the next. Nothing is committed of a step that did not return an outcome, except its tool ledger
(see `_ledger`), and a row for a failed attempt.

*How an attempt can end* (the statuses come from the table in `_states`):

| the step | becomes |
|---|---|
| returns `Continue` | committed; `running`, or `paused` when the slice of `max_steps` is used up |
| returns `Complete` | committed; `completed` |
| returns `Wait` | committed; `waiting`, or `running` when the signal is there already |
| returns `Fail`, or raises what is not worth a retry | an attempt row; `failed`, with the state before the step |
| raises what may pass | an attempt row with the time of the next try; `running` |
| calls a tool that is in doubt and asks | `waiting`; the same attempt goes on when a person has answered |
| is cancelled (Ctrl-C, SIGTERM) | `paused`; the same step starts again on `resume` |
| disappears with its process | found by the next claim, which writes an attempt row `interrupted` |
| loses its lease | nothing is written, `LeaseLost` |

*Resume* reads the run's row and goes on. The number of steps before does not matter, and nothing is replayed.

*Who may claim.* A run that nobody holds; a run whose lease has run out; a run whose holder is certainly gone (same
machine, no such process). Being wrong about the last would be harmless: the fence keeps the old holder from
writing.

*Not covered.* A step that never awaits and never returns blocks its event loop; its lease is kept by the
heartbeat's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loom_runner._clock import Clock, RetryPolicy, to_iso
from loom_runner._codec import canonical
from loom_runner._context import RunContext, RunningRun, Signal, entered
from loom_runner._doubt import read_tool_calls
from loom_runner._errors import (
    ApprovalRequired,
    LeaseLost,
    RunBusy,
    RunExists,
    StateError,
    StoreError,
    ToolCallMismatch,
    UnknownRun,
    UnknownTool,
    UsageError,
)
from loom_runner._events import EventKind, Observers, RunEvent
from loom_runner._lease import Heartbeat, is_gone, this_process
from loom_runner._ledger import Ledger, StepParked
from loom_runner._records import (
    AttemptEnd,
    AttemptRecord,
    Claim,
    ErrorInfo,
    LeaseRequest,
    NewRun,
    RunRecord,
    StepCommit,
)
from loom_runner._states import TERMINAL, Status, move

if TYPE_CHECKING:
    from loom_runner._outcomes import Fail
    from loom_runner._program import Advance, Program
    from loom_runner._store import Store
    from loom_runner._tools import ToolRegistry

__all__ = ["Driver", "RunResult"]

_YIELD_EVERY_US: Final = 5_000
"""A step that never suspends would keep signals and other runs waiting; the driver lets the loop turn this often."""

_NEVER_RETRIED: Final = (StateError, UsageError, ToolCallMismatch, UnknownTool, ApprovalRequired)
"""Errors of the code itself: the same attempt would end the same way."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run stands when `start` or `resume` returns.

    Attributes:
        status: One of the table's statuses.
        step_index: The number of committed steps, which is the index of the next one.
        state: The latest state, of its declared type.
        result: What `Complete` gave, of its declared type; None before.
        error: Why it failed or parked.
        wait: What a waiting run waits for: `{"signal": name, "until": time or None}` or `{"doubt": call number}`.
        was_stored: The run had ended before; nothing ran.
    """

    run_id: str
    status: Status
    step_index: int
    state: Any
    result: Any = None
    error: ErrorInfo | None = None
    wait: dict[str, Any] | None = None
    was_stored: bool = False


@dataclass(slots=True)
class _Cursor:
    """A claimed run in this process's hands: what the next step needs."""

    claim: Claim
    run: RunningRun
    task: asyncio.Task[Any] | None
    step_index: int
    state: Any
    state_text: str
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
                self.task.cancel()

    def lease_lost(self) -> LeaseLost:
        return LeaseLost(
            f"cannot go on with {self.run_id!r}: another process took the run over while step {self.step_index} ran. "
            "Nothing of the step was written; look with loom-runner explain.",
            run_id=self.run_id,
            step_index=self.step_index,
        )


class Driver:
    """Drive runs of one program against one store."""

    def __init__(
        self,
        program: Program,
        store: Store,
        *,
        tools: ToolRegistry,
        retry: RetryPolicy,
        observers: Observers,
        clock: Clock,
        lease_s: float,
        max_crashes: int,
    ) -> None:
        self._program = program
        self._store = store
        self._tools = tools
        self._retry = retry
        self._observers = observers
        self._clock = clock
        self._lease_s = lease_s
        self._max_crashes = max_crashes
        self._heartbeat = Heartbeat(store, lease_s / 3)

    # ------------------------------------------------------------------ beginning

    async def start(self, run_id: str, initial: Any, max_steps: int | None) -> RunResult:
        """Create the run and drive it; attach to it when it exists with the same input."""
        _check_max_steps(max_steps)
        text, state = self._program.begin(initial)
        new = NewRun(run_id, self._program.name, text, text, self._clock.now_us())
        claim = await self._store.create_run(new, self._lease_request())
        if claim is not None:
            cursor = self._cursor(claim, 0, state, text, attempt=0)
            self._tell(cursor, "run_started", status="created", fence=claim.fence, taken_over_from=None)
            return await self._drive(cursor, max_steps)
        record = self._read(run_id, "start")
        if record.program != self._program.name:
            raise RunExists(
                f"cannot start {run_id!r}: {self._store.description} has a run of this name of another program, "
                f"{record.program!r}. Choose another run id.",
                run_id=run_id,
            )
        if canonical(record.input) != canonical(text):
            raise RunExists(
                f"cannot start {run_id!r}: a run of this name exists in {self._store.description} with another input. "
                "Go on with it by resume, or choose another run id.",
                run_id=run_id,
            )
        if record.status in TERMINAL or record.status == "failed":
            return self._stored(record, was_stored=True)
        return await self._attach(record, max_steps)

    async def resume(self, run_id: str, max_steps: int | None) -> RunResult:
        """Go on with a run; give back what is stored when it has ended."""
        _check_max_steps(max_steps)
        record = self._read(run_id, "resume")
        if record.status in TERMINAL:
            return self._stored(record, was_stored=True)
        return await self._attach(record, max_steps)

    async def _attach(self, record: RunRecord, max_steps: int | None) -> RunResult:
        if record.status == "waiting" and not self._is_answered(record):
            return self._stored(record)
        state = self._read_state(record)
        claim, seen = await self._claim(record)
        if seen is not record:
            state = self._read_state(seen)
        was_lost = seen.status == "running"
        crashes = seen.crashes + was_lost
        cursor = self._cursor(claim, seen.step_index, state, seen.state, attempt=seen.failures + crashes)
        cursor.tries_used = 0 if seen.status in ("failed", "parked") else seen.failures
        cursor.due_at = seen.due_at if was_lost or seen.status == "paused" else None
        cursor.wait = {name: value for name, value in (seen.wait or {}).items() if name != "doubt"} or None
        taken_from = seen.owner.pid if was_lost and seen.owner else None
        self._tell(cursor, "run_started", status=seen.status, fence=claim.fence, taken_over_from=taken_from)
        if was_lost and crashes >= self._max_crashes:
            return await self._park(cursor, crashes)
        return await self._drive(cursor, max_steps)

    async def _claim(self, record: RunRecord) -> tuple[Claim, RunRecord]:
        """Claim a run as it was read; read again when it changed in between.

        Raises:
            RunBusy: A live process holds it.
        """
        run_id = record.run_id
        for _ in range(3):
            move(record.status, "take_over" if record.status == "running" else "claim", run_id=run_id)
            owner = record.owner
            gone = owner is not None and is_gone(owner)
            if record.is_leased and not gone:
                raise _busy(record)
            claim = await self._store.claim_run(record, self._lease_request(), take_over=gone)
            if claim is not None:
                return claim, record
            record = self._read(run_id, "resume")
        raise _busy(record)

    def _is_answered(self, record: RunRecord) -> bool:
        """Whether what a waiting run waits for has come."""
        wait = record.wait or {}
        if "doubt" in wait:
            calls = read_tool_calls(self._store, record.run_id, in_doubt=True)
            return all(call.number != wait["doubt"] for call in calls)
        is_over = record.due_at is not None and record.due_at <= self._clock.now_us()
        return is_over or bool(self._store.signals(record.run_id, name=wait.get("signal", "")))

    # ------------------------------------------------------------------ stepping

    async def _drive(self, cursor: _Cursor, max_steps: int | None) -> RunResult:
        self._heartbeat.keep(cursor.claim, cursor.lost_elsewhere)
        try:
            return await self._steps(cursor, max_steps)
        except LeaseLost:
            raise
        except StoreError:
            # Give the lease back if the store lets us, so that nobody has to wait for it to run out.
            with contextlib.suppress(StoreError, LeaseLost):
                await self._interrupt(cursor, "stopped: the database could not be written")
            raise
        except asyncio.CancelledError:
            if cursor.is_lost:
                raise cursor.lease_lost() from None
            await self._interrupt(cursor, "stopped")
            raise
        except BaseException as exc:
            await self._interrupt(cursor, f"stopped by {type(exc).__name__}")
            raise
        finally:
            cursor.is_active = False
            self._heartbeat.drop(cursor.claim)
            entered(None)

    async def _steps(self, cursor: _Cursor, max_steps: int | None) -> RunResult:
        clock, program, observers = self._clock, self._program, self._observers
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
                self._tell(cursor, "step_started")
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
                    ended = await self._failed(cursor, started_at, exc)
                    if ended is not None:
                        return ended
                    continue
                if isinstance(context.stopped, StepParked):
                    return await self._ask(cursor, context.stopped)
                raise context.stopped from exc
            except BaseException as exc:
                if isinstance(context.stopped, StepParked) and not isinstance(exc, asyncio.CancelledError):
                    return await self._ask(cursor, context.stopped)
                context.close()
                raise
            if advance.fail is not None:
                return await self._gave_up(cursor, started_at, advance.fail)
            ended = await self._commit(cursor, advance, started_at, signal_key)
            context.close()
            if ended is not None:
                return ended

    async def _commit(
        self, cursor: _Cursor, advance: Advance, started_at: int, signal_key: int | None
    ) -> RunResult | None:
        """Commit one step; the result when the run stops here."""
        ended_at = self._clock.now_us()
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
        )
        if advance.outcome == "complete":
            step.status, step.lease_end = move("running", "complete"), "completed"
        elif advance.wait is not None:
            until = None
            if advance.wait.timeout_s is not None:
                step.due_at = ended_at + int(advance.wait.timeout_s * 1_000_000)
                until = to_iso(step.due_at)
            step.wait = {"signal": advance.wait.signal, "until": until}
            sent = self._store.signals(cursor.run_id, name=advance.wait.signal)
            # The signal that this step has taken is still listed: it is this commit that takes it.
            if all(waiting.key == signal_key for waiting in sent):
                step.status, step.lease_end = move("running", "wait"), "waiting"
                step.note = f"signal {advance.wait.signal!r}"
        if step_index == cursor.last_step and step.lease_end is None:
            step.status, step.lease_end, step.note = move("running", "pause"), "paused", f"max_steps {cursor.max_steps}"
        if step.lease_end is not None:
            cursor.is_active = False
        await self._store.commit_step(cursor.claim, step)
        cursor.step_index = step_index + 1
        if advance.state_text is not None:
            cursor.state, cursor.state_text = advance.state, advance.state_text
        if self._observers:
            duration_ms = (ended_at - started_at) / 1000
            self._tell(
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
        self._tell(cursor, "run_ended", status=step.status, reason=step.note)
        return RunResult(
            cursor.run_id, step.status, cursor.step_index, cursor.state, result=advance.result, wait=step.wait
        )

    def _signal(self, cursor: _Cursor) -> tuple[Signal | None, int | None]:
        """The signal that ended the wait before this step; nothing after a time-out."""
        name = (cursor.wait or {}).get("signal")
        pending = self._store.signals(cursor.run_id, name=name) if name else []
        if not pending:
            return None, None
        first = pending[0]
        return Signal(first.name, json.loads(first.payload)), first.key

    # ------------------------------------------------------------------ attempts that commit nothing

    async def _failed(self, cursor: _Cursor, started_at: int, exc: Exception) -> RunResult | None:
        """Record a failed attempt; the result when there is no further one."""
        now = self._clock.now_us()
        error = _describe(exc, self._program)
        cursor.tries_used += 1
        retry = not isinstance(exc, _NEVER_RETRIED) and cursor.tries_used < self._retry.max_attempts
        if not (retry and self._retry.should_retry(exc)):
            return await self._end_failed(cursor, started_at, now, error)
        delay_s = self._retry.delay_s(cursor.tries_used, self._clock.chance())
        due_at = now + int(delay_s * 1_000_000)
        failed = self._attempt(cursor, started_at, now, error, due_at)
        await self._store.end_attempt(
            cursor.claim, AttemptEnd(move("running", "retry"), now, failed=failed, due_at=due_at)
        )
        self._tell(cursor, "attempt_failed", error=error.as_json(), retry_in_s=delay_s)
        cursor.attempt += 1
        cursor.due_at = due_at
        return None

    async def _gave_up(self, cursor: _Cursor, started_at: int, fail: Fail) -> RunResult:
        error = ErrorInfo("Fail", fail.message, fail.error_category, self._program.code_at)
        return await self._end_failed(cursor, started_at, self._clock.now_us(), error)

    async def _end_failed(self, cursor: _Cursor, started_at: int, now: int, error: ErrorInfo) -> RunResult:
        failed = self._attempt(cursor, started_at, now, error, None)
        self._tell(cursor, "attempt_failed", error=error.as_json(), retry_in_s=None)
        return await self._stop(
            cursor, AttemptEnd(move("running", "fail"), now, failed=failed, error=error, lease_end="failed")
        )

    async def _ask(self, cursor: _Cursor, parked: StepParked) -> RunResult:
        wait = {**(cursor.wait or {}), "doubt": parked.number}
        note = f"a word about {cursor.run_id}#{parked.number}"
        end = AttemptEnd(move("running", "ask"), self._clock.now_us(), wait=wait, lease_end="waiting", note=note)
        return await self._stop(cursor, end)

    async def _park(self, cursor: _Cursor, crashes: int) -> RunResult:
        message = f"step {cursor.step_index} took its process down {crashes} times"
        error = ErrorInfo("Parked", message, "crashes", self._program.code_at)
        end = AttemptEnd(move("running", "park"), self._clock.now_us(), error=error, lease_end="parked")
        return await self._stop(cursor, end)

    async def _interrupt(self, cursor: _Cursor, note: str) -> None:
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

    async def _stop(self, cursor: _Cursor, end: AttemptEnd) -> RunResult:
        cursor.is_active = False
        if cursor.context is not None:
            cursor.context.close()
        await self._store.end_attempt(cursor.claim, end)
        self._tell(cursor, "run_ended", status=end.status, reason=end.note)
        return RunResult(
            cursor.run_id, end.status, cursor.step_index, cursor.state, error=end.error, wait=end.wait or cursor.wait
        )

    @staticmethod
    def _attempt(cursor: _Cursor, started_at: int, now: int, error: ErrorInfo, retry_at: int | None) -> AttemptRecord:
        return AttemptRecord(
            cursor.step_index, cursor.attempt, "failed", started_at, now, error, retry_at, cursor.claim.fence
        )

    # ------------------------------------------------------------------ small parts

    def _cursor(self, claim: Claim, step_index: int, state: Any, state_text: str, *, attempt: int) -> _Cursor:
        ledger = Ledger(self._store, claim, self._observers, self._clock)
        run = RunningRun(claim.run_id, ledger, self._tools, self._observers, self._clock, asyncio.get_running_loop())
        return _Cursor(claim, run, asyncio.current_task(), step_index, state, state_text, attempt)

    def _lease_request(self) -> LeaseRequest:
        return LeaseRequest(this_process(), self._lease_s, self._program.fingerprint, self._program.code_at)

    def _read(self, run_id: str, verb: str) -> RunRecord:
        record = self._store.get_run(run_id)
        if record is None:
            raise unknown_run(self._store, run_id, verb)
        return record

    def _read_state(self, record: RunRecord) -> Any:
        try:
            return self._program.read_state(record.state)
        except StateError as exc:
            exc.run_id, exc.step_index = record.run_id, record.step_index
            raise

    def _stored(self, record: RunRecord, *, was_stored: bool = False) -> RunResult:
        result = None if record.result is None else self._program.read_result(record.result)
        return RunResult(
            record.run_id,
            record.status,
            record.step_index,
            self._read_state(record),
            result=result,
            error=record.error,
            wait=record.wait,
            was_stored=was_stored,
        )

    def _tell(self, cursor: _Cursor, kind: EventKind, step_index: int | None = None, /, **data: Any) -> None:
        if self._observers:
            index = cursor.step_index if step_index is None else step_index
            self._observers.tell(RunEvent(kind, cursor.run_id, index, cursor.attempt, self._clock.now_us(), data))


def unknown_run(store: Store, run_id: str, verb: str) -> UnknownRun:
    """Say that there is no such run, and which there are."""
    there = [record.run_id for record in store.list_runs(limit=6)]
    names = ", ".join(there[:5]) + (", ..." if len(there) > 5 else "")
    hint = f"Runs there: {names} (loom-runner list)." if there else "It holds no runs yet."
    return UnknownRun(f"cannot {verb} {run_id!r}: there is no such run in {store.description}. {hint}", run_id=run_id)


def _busy(record: RunRecord) -> RunBusy:
    pid = record.owner.pid if record.owner else "unknown"
    return RunBusy(
        f"cannot go on with {record.run_id!r}: process {pid} works on it (its lease lasts "
        f"{max(record.lease_left_s, 0):.0f} s more). Wait for it, or stop that process.",
        run_id=record.run_id,
        step_index=record.step_index,
    )


def _check_max_steps(max_steps: int | None) -> None:
    if max_steps is not None and max_steps < 1:
        raise UsageError(f"cannot run {max_steps} steps: max_steps starts at 1; leave it out to run until done.")


def _describe(exc: BaseException, program: Program) -> ErrorInfo:
    """Write an exception down: category, the line of the user's code, and the traceback without our own frames."""
    category = getattr(exc, "error_category", None) or ("state" if isinstance(exc, StateError) else "error")
    frames = [frame for frame in traceback.extract_tb(exc.__traceback__) if not _is_ours(frame.filename)]
    file = program.code_at.partition(":")[0]
    own = [frame for frame in frames if Path(frame.filename).name == file] or frames
    where = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else program.code_at
    text = "".join(traceback.format_list(frames[-20:])) if frames else None
    return ErrorInfo(type(exc).__name__, str(exc), category, where, text)


def _is_ours(filename: str) -> bool:
    path = Path(filename)
    return path.parent == Path(__file__).parent or path.parent.name == "asyncio"
