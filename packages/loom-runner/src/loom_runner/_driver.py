"""Beginning: a run is created or found, claimed, and handed to the stepper. Theory of operation:

*Resume* reads the run's row and goes on. The number of steps before does not matter, and nothing is replayed.

*Who may claim.* A run that nobody holds; a run whose lease has run out; a run whose holder is certainly gone (same
machine, no such process). Being wrong about the last would be harmless: the fence keeps the old holder from
writing.

*What a claim finds.* A run whose process disappeared gets an attempt row `interrupted`, written by the claim itself;
one that did so too often is parked instead of tried again. A waiting run is only claimed when what it waits for has
come.

The loop of the steps is in `_stepping`, the ends of attempts are in `_ending`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from loom_runner._codec import canonical
from loom_runner._context import RunningRun
from loom_runner._cursor import Cursor, Settings
from loom_runner._ending import Endings
from loom_runner._errors import RunBusy, RunExists, StateError, UsageError
from loom_runner._finding import find_run, unknown_run
from loom_runner._lease import Heartbeat, is_gone, this_process
from loom_runner._ledger import Ledger
from loom_runner._records import Claim, LeaseRequest, NewRun, RunRecord
from loom_runner._result import RunResult
from loom_runner._states import TERMINAL, move
from loom_runner._stepping import Stepper
from loom_runner._waits import Waits, before_step

__all__ = ["Driver", "RunResult", "unknown_run"]


class Driver:
    """Drive runs of one program against one store."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._program = settings.program
        self._store = settings.store
        self._clock = settings.clock
        self._tell = settings.tell
        self._waits = Waits(settings)
        self._endings = Endings(settings)
        self._stepper = Stepper(settings, self._endings, Heartbeat(settings.store, settings.lease_s / 3))

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
            return await self._stepper.drive(cursor, max_steps)
        record = find_run(self._store, run_id, "start")
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
        record = find_run(self._store, run_id, "resume")
        if record.status in TERMINAL:
            return self._stored(record, was_stored=True)
        return await self._attach(record, max_steps)

    async def _attach(self, record: RunRecord, max_steps: int | None) -> RunResult:
        if record.status == "waiting" and not await self._waits.is_over(record):
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
        cursor.wait = before_step(seen.wait)
        taken_from = seen.owner.pid if was_lost and seen.owner else None
        self._tell(cursor, "run_started", status=seen.status, fence=claim.fence, taken_over_from=taken_from)
        if was_lost and crashes >= self._settings.max_crashes:
            return await self._endings.park(cursor, crashes)
        return await self._stepper.drive(cursor, max_steps)

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
            record = find_run(self._store, run_id, "resume")
        raise _busy(record)

    # ------------------------------------------------------------------ small parts

    def _cursor(self, claim: Claim, step_index: int, state: Any, state_text: str, *, attempt: int) -> Cursor:
        ledger = Ledger(self._settings, claim)
        run = RunningRun(
            claim.run_id,
            ledger,
            self._settings.tools,
            self._settings.observers,
            self._clock,
            asyncio.get_running_loop(),
        )
        return Cursor(claim, run, asyncio.current_task(), step_index, state, state_text, attempt)

    def _lease_request(self) -> LeaseRequest:
        settings, program = self._settings, self._program
        return LeaseRequest(this_process(), settings.lease_s, program.fingerprint, program.code_at, settings.module())

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
