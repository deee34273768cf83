"""Beginning: a run is created or found, claimed, and handed to the stepper. Theory of operation:

*Resume* reads the run's row and goes on. The number of steps before does not matter, and nothing is replayed.

*Who may claim.* A run that nobody holds; a run whose lease has run out; a run whose holder is certainly gone (same
machine, no such process). Being wrong about the last would be harmless: the fence keeps the old holder from
writing.

*What a claim finds.* A run whose process disappeared gets an attempt row `interrupted`, written by the claim itself;
one that did so too often is parked instead of tried again. A waiting run is only claimed when what it waits for has
come; a claim that finds the run changed since then is refused, and everything is looked at anew.

The loop of the steps is in `_stepping`, the ends of attempts are in `_ending`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, Final

from loom_runner._driver.children import Family
from loom_runner._driver.cursor import Cursor, Settings, Visit
from loom_runner._driver.endings import Endings
from loom_runner._driver.heartbeat import Heartbeat
from loom_runner._driver.ledger import Ledger
from loom_runner._driver.stepper import Stepper
from loom_runner._driver.waits import Waits, before_step
from loom_runner._model.budget import NOTHING, Budget, Meter
from loom_runner._model.processes import is_gone, this_process
from loom_runner._model.records import Claim, LeaseRequest, NewRun, RunRecord, Spent
from loom_runner._model.result import RunResult
from loom_runner._model.statuses import TERMINAL, move
from loom_runner._program.codec import canonical
from loom_runner._program.context import RunningRun
from loom_runner._store.lookup import find_run
from loom_runner.errors import LeaseLost, RunBusy, RunExists, StateError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loom_runner._model.events import Observers
    from loom_runner._program.program import Program

__all__ = ["Driver"]


_MOST_RACES: Final = 5
"""How often a run may turn out to have changed between being read and being claimed; then others are busy with it."""


class Driver:
    """Drive runs of one program against one store."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._program = settings.program
        self._store = settings.store
        self._clock = settings.clock
        self._tell = settings.tell
        self._family = Family(settings)
        self._waits = Waits(settings, self._family)
        self._endings = Endings(settings, self._family)
        heartbeat = Heartbeat(settings.store, settings.lease_s / 3)
        self._stepper = Stepper(settings, self._endings, self._family, heartbeat)
        self._held: dict[str, Cursor] = {}

    @property
    def program(self) -> Program:
        return self._program

    @property
    def observers(self) -> Observers:
        return self._settings.observers

    # ------------------------------------------------------------------ beginning

    async def start(self, run_id: str, initial: Any, visit: Visit, budget: Budget | None = None) -> RunResult:
        """Create the run and drive it; attach to it when it exists with the same input."""
        text, state = self._program.begin(initial)
        limits = None if budget is None or budget.is_unlimited else json.dumps(budget.as_json())
        now = self._clock.now_us()
        new = NewRun(run_id, self._program.name, text, text, now, limits, self._program.version)
        claim = await self._store.create_run(new, self._lease_request())
        if claim is not None:
            meter = Meter(budget or Budget())
            cursor = self._cursor(claim, 0, state, attempt=0, visit=visit, meter=meter)
            self._tell(cursor, "run_started", status="created", fence=claim.fence, taken_over_from=None)
            return await self._visited(run_id, visit, cursor=cursor)
        record = find_run(self._store, run_id, "start")
        if record.program != self._program.name:
            raise RunExists(
                f"cannot start {run_id!r}: {self._store.description} has a run of this name of another program, "
                f"{record.program!r}. Choose another run id.",
                run_id=run_id,
            )
        if not self.is_same_input(record, text):
            raise RunExists(
                f"cannot start {run_id!r}: a run of this name exists in {self._store.description} with another input. "
                "Go on with it by resume, or choose another run id.",
                run_id=run_id,
            )
        if record.status in TERMINAL or record.status == "failed":
            return self._stored(record, was_stored=True)
        return await self._visited(run_id, visit, record=record)

    def is_same_input(self, record: RunRecord, text: str) -> bool:
        """Compare inputs as JSON values; one of an earlier version of the code is brought up to date first."""
        given = canonical(text)
        if canonical(record.input) == given:
            return True
        for version in range(1, self._program.version):
            with contextlib.suppress(StateError):
                if canonical(self._program.upgraded(record.input, version, "the input")) == given:
                    return True
        return False

    async def resume(self, run_id: str, visit: Visit, budget: Budget | None = None) -> RunResult:
        """Go on with a run; give back what is stored when it has ended."""
        record = find_run(self._store, run_id, "resume")
        other = self._of_child(record.program)
        if other is not None:
            return await other.resume(run_id, visit.for_child(self.observers), budget)
        if record.status in TERMINAL:
            return self._stored(record, was_stored=True)
        if budget is not None:
            limits = Budget.from_json(record.budget).raised_by(budget)
            await self._store.set_budget(run_id, json.dumps(limits.as_json()))
            record = find_run(self._store, run_id, "resume")
            await self.raise_budgets(record, self._meter(record).remaining, budget)
        return await self._visited(run_id, visit, record=record)

    def _of_child(self, program: str) -> Driver | None:
        """Find the driver of a child's run, when it is gone on with under its parent's runner."""
        if program == self._program.name or not self._settings.children:
            return None
        return next((driver for driver in self.whole_family() if driver.program.name == program), None)

    async def _visited(
        self, run_id: str, visit: Visit, *, cursor: Cursor | None = None, record: RunRecord | None = None
    ) -> RunResult:
        """Drive a run as far as this call may go, and its children beside it."""
        try:
            return await self._as_far_as_it_goes(run_id, visit, cursor, record)
        finally:
            if visit.children:
                await self._family.leave(visit)

    async def _as_far_as_it_goes(
        self, run_id: str, visit: Visit, cursor: Cursor | None, record: RunRecord | None
    ) -> RunResult:
        races = 0
        while True:
            if cursor is None:
                record = record or find_run(self._store, run_id, "resume")
                if record.status in TERMINAL:  # somebody else ended it in between
                    return self._stored(record)
                if record.status == "waiting" and not await self._waits.is_over(record):
                    if not await self._waited(record, visit):
                        return self._stored(find_run(self._store, run_id, "resume"))
                    record = None
                    continue
                if self._is_used_up(record):
                    return self._stored(record)
                cursor = await self._claimed(record, visit)
                if cursor is None:
                    races += 1
                    if races == _MOST_RACES:
                        raise _busy(record)
                    record = None
                    continue
                if not cursor.is_active:
                    return self._stored(find_run(self._store, run_id, "resume"))
            first = cursor.step_index
            self._held[run_id] = cursor
            try:
                result = await self._stepper.drive(cursor, visit.max_steps)
            except LeaseLost:
                record = self._store.get_run(run_id)
                if record is not None and record.status == "cancelled":
                    return self._stored(record)
                raise
            finally:
                del self._held[run_id]
            visit.stepped(result.step_index - first)
            if result.status != "waiting" or visit.is_used_up or self._settings.stop.is_asked:
                return result
            cursor = record = None

    async def _waited(self, record: RunRecord, visit: Visit) -> bool:
        """Do what this process can do about a wait; True when it is worth another look."""
        if self._settings.stop.is_asked:
            return False
        if record.wait is not None and "children" in record.wait:
            await self._family.drive(record, visit)
            return await self._waits.is_over(record)
        if record.due_at is None:
            return False
        left_s = (record.due_at - self._clock.now_us()) / 1_000_000
        if left_s > visit.wait_s:
            return False
        visit.wait_s -= max(0.0, left_s)
        await self._clock.sleep(max(0.0, left_s))
        return True

    async def _claimed(self, seen: RunRecord, visit: Visit) -> Cursor | None:
        """Claim a run and take it in hand; None when it has changed since it was read.

        The cursor is not active when the run was parked instead.
        """
        state, text = self._read_state(seen)
        claim = await self._claim(seen)
        if claim is None:
            return None
        if seen.state_version != self._program.version:
            await self._store.replace_state(claim, text, self._program.version)
        was_lost = seen.status == "running"
        crashes = seen.crashes + was_lost
        meter = self._meter(seen)
        cursor = self._cursor(claim, seen.step_index, state, attempt=seen.failures + crashes, visit=visit, meter=meter)
        cursor.tries_used = 0 if seen.status in ("failed", "parked") else seen.failures
        cursor.due_at = seen.due_at if was_lost or seen.status == "paused" else None
        cursor.wait = before_step(seen.wait)
        taken_from = seen.owner.pid if was_lost and seen.owner else None
        self._tell(cursor, "run_started", status=seen.status, fence=claim.fence, taken_over_from=taken_from)
        if was_lost and crashes >= self._settings.max_crashes:
            await self._endings.park(cursor, crashes)
        return cursor

    def _meter(self, record: RunRecord) -> Meter:
        own = Spent(record.step_index, record.spent_tokens, record.spent_cost_usd, record.work_us / 1_000_000)
        family = self._store.spent_by_descendants(record.run_id) if self._settings.children else NOTHING
        return Meter(Budget.from_json(record.budget), own, family)

    def _is_used_up(self, record: RunRecord) -> bool:
        is_limit = record.status == "paused" and record.error is not None and record.error.category == "limit"
        return is_limit and self._meter(record).reached is not None

    async def can_go_on(self, record: RunRecord) -> bool:
        """Say whether a waiting run, or a child that it waits for, could be gone on with now."""
        if await self._waits.is_over(record):
            return True
        return record.wait is not None and "children" in record.wait and await self._family.can_go_on(record.wait)

    async def raise_budgets(self, record: RunRecord, remaining: Budget, raised: Budget) -> None:
        """Let the open children of a run, and theirs, use what it may use now."""
        if record.wait is not None and "children" in record.wait:
            await self._family.raise_budgets(record, remaining, raised)

    # ------------------------------------------------------------------ ending early

    def let_go(self, run_ids: Iterable[str]) -> None:
        """Stop the steps of runs that were cancelled, without waiting for a heartbeat."""
        for run_id in run_ids:
            if run_id in self._held:
                self._held[run_id].lost()

    def with_family(self) -> list[Driver]:
        """This driver, and those of children that were needed so far, and theirs; each once."""
        found: list[Driver] = [self]
        for driver in found:
            found += [each for each in driver.family_drivers() if all(each is not other for other in found)]
        return found

    def whole_family(self) -> list[Driver]:
        """This driver, and those of all programs of children, and theirs; each once."""
        found: list[Driver] = [self]
        for driver in found:
            driver.know_family()
            found += [each for each in driver.family_drivers() if all(each is not other for other in found)]
        return found

    def know_family(self) -> None:
        self._family.know_all()

    def family_drivers(self) -> list[Driver]:
        return self._family.known_drivers()

    def stop(self) -> None:
        """Let every run stop after its step."""
        self._settings.stop.is_asked = True

    # ------------------------------------------------------------------ claiming

    async def _claim(self, record: RunRecord) -> Claim | None:
        """Claim a run as it was read; None when it has changed since, so that everything is to be looked at anew.

        Raises:
            RunBusy: A live process holds it.
        """
        move(record.status, "take_over" if record.status == "running" else "claim", run_id=record.run_id)
        gone = record.owner is not None and is_gone(record.owner)
        if record.is_leased and not gone:
            raise _busy(record)
        return await self._store.claim_run(record, self._lease_request(), take_over=gone)

    # ------------------------------------------------------------------ small parts

    def _cursor(
        self,
        claim: Claim,
        step_index: int,
        state: Any,
        *,
        attempt: int,
        visit: Visit,
        meter: Meter,
    ) -> Cursor:
        settings = self._settings
        observers = visit.audience(settings.observers)
        ledger = Ledger(settings, claim, observers)
        loop = asyncio.get_running_loop()
        run = RunningRun(claim.run_id, ledger, settings.tools, observers, self._clock, loop, meter)
        task = asyncio.current_task()
        return Cursor(claim, run, task, step_index, state, attempt)

    def _lease_request(self) -> LeaseRequest:
        settings, program = self._settings, self._program
        return LeaseRequest(
            this_process(),
            settings.lease_s,
            program.fingerprint,
            program.code_at,
            settings.module(),
            program.version,
        )

    def _read_state(self, record: RunRecord) -> tuple[Any, str]:
        """Read a stored state, brought up to date; live and written."""
        what = f"run {record.run_id!r} (step {record.step_index})"
        try:
            text = self._program.upgraded(record.state, record.state_version, what)
            return self._program.read_state(text), text
        except StateError as exc:
            exc.run_id, exc.step_index = record.run_id, record.step_index
            raise

    def _stored(self, record: RunRecord, *, was_stored: bool = False) -> RunResult:
        result = None if record.result is None else self._program.read_result(record.result)
        return RunResult(
            record.run_id,
            record.status,
            record.step_index,
            self._read_state(record)[0],
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
