"""Create or find a run, claim it, and pass it to the stepper. Theory of operation:

*Resume* reads the run's row and continues. Nothing is replayed, and the number of earlier steps
does not matter.

*Which agent.* A run is resumed only by the agent that its row names (`Agent.name`, or one of its
aliases). Rows of earlier versions have the function's name without its module: a caller that names
the agent's module may resume them if they were last driven from a file of the same name; a worker
never does. The claim stores the new name.

*Which runs can be claimed.* A run without a holder, a run whose lease has expired, and a run whose
holder is certainly gone (same machine, no such process). An error about the last would be harmless:
the fence prevents the old holder from writing.

*Claims.* If the run's process disappeared, the claim writes an attempt row `interrupted`; after too
many such attempts the run is parked instead. A waiting run is claimed only when its wait is over.
If the run has changed since it was read, the claim is refused, and everything is read again.

The loop of the steps is in `stepper`, the ends of attempts are in `endings`.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from loom_runner._driver.children import ChildRuns
from loom_runner._driver.cursor import Cursor
from loom_runner._driver.endings import Endings
from loom_runner._driver.heartbeat import Heartbeat
from loom_runner._driver.new_runs import existing_run, is_run_of, new_run
from loom_runner._driver.refusals import busy_run, foreign_run
from loom_runner._driver.stepper import Stepper
from loom_runner._driver.tool_ledger import Ledger
from loom_runner._driver.waits import Waits
from loom_runner._model.budget import NOTHING_SPENT, Budget, Meter
from loom_runner._model.processes import is_gone, this_process
from loom_runner._model.records import Claim, RunRecord, Spent
from loom_runner._model.results import RunResult
from loom_runner._model.statuses import TERMINAL, move
from loom_runner._model.waits import ChildrenWait, before_step
from loom_runner._model.writes import LeaseRequest
from loom_runner._program.agent import Agent, check_names, is_same_program
from loom_runner._program.running_run import RunningRun
from loom_runner._store.lookup import find_run
from loom_runner.errors import LeaseLost, StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from loom_runner._driver.settings import ChildDriver, Invocation, Settings
    from loom_runner._model.events import Observers

__all__ = ["Driver"]


_MAX_CLAIM_RACES: Final = 5
"""How often a run may have changed between being read and being claimed, before it is reported as
busy.
"""


class Driver:
    """Drive the runs of one agent on one store."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._program = settings.program
        self._store = settings.store
        self._clock = settings.clock
        self._notify = settings.notify
        self._children = ChildRuns(settings)
        self._waits = Waits(settings)
        self._endings = Endings(settings, self._children)
        heartbeat = Heartbeat(settings.store, settings.lease_s / 3)
        self._stepper = Stepper(settings, self._endings, self._children, heartbeat)
        self._held: dict[str, Cursor] = {}

    @property
    def agent(self) -> Agent:
        return self._settings.agent

    @property
    def observers(self) -> Observers:
        return self._settings.observers

    # ------------------------------------------------------------------ starting and resuming

    async def start(self, run_id: str, initial: Any, invocation: Invocation, budget: Budget | None = None) -> RunResult:
        """Create the run and drive it; attach to it if it exists with the same input."""
        new, state = new_run(self._settings, run_id, initial, budget)
        claim = await self._stepper.claimed(self._store.create_run(new, self._lease_request()))
        if claim is not None:
            meter = Meter(budget or Budget())
            cursor = self._cursor(claim, 0, state, new.state, attempt=0, invocation=invocation, meter=meter)
            self._notify(cursor, "run_started", status="created", fence=claim.fence, taken_over_from=None)
            return await self._drive(run_id, invocation, cursor=cursor)
        record = await existing_run(self._settings, new, "start")
        if record.status in TERMINAL or record.status == "failed":
            return self._stored(record, was_stored=True)
        return await self._drive(run_id, invocation, record=record)

    async def enqueue(self, run_id: str, initial: Any, budget: Budget | None = None) -> RunResult:
        """Create the run for a worker to drive; return it as stored if it exists with the same
        input.
        """
        new, _ = new_run(self._settings, run_id, initial, budget)
        if await self._store.add_run(new):
            return self._stored(await find_run(self._store, run_id, "enqueue"))
        return self._stored(await existing_run(self._settings, new, "enqueue"), was_stored=True)

    async def resume(
        self, run_id: str, invocation: Invocation, budget: Budget | None = None, *, through_parent: bool = False
    ) -> RunResult:
        """Continue a run; if it has ended, return its stored result."""
        record = await find_run(self._store, run_id, "resume")
        if not await is_run_of(self._settings, record, through_parent=through_parent):
            other = await self._driver_of(record)
            return await other.resume(run_id, invocation.for_child(self.observers), budget, through_parent=True)
        if record.status in TERMINAL:
            return self._stored(record, was_stored=True)
        if budget is not None:
            limits = Budget.from_json(record.budget).raised_by(budget)
            await self._store.set_budget(run_id, json.dumps(limits.as_json()))
            record = await find_run(self._store, run_id, "resume")
            await self.raise_budgets(record, (await self._meter(record)).remaining, budget)
        return await self._drive(run_id, invocation, record=record)

    async def _driver_of(self, record: RunRecord) -> Driver:
        """Return the driver of a child run that is resumed with the agent of an ancestor.

        Raises:
            UsageError: The run belongs to another program.
        """
        related = self.all_related()
        for driver in related:
            if driver is not self and record.program in driver.agent.names:
                return driver
        parent = None if record.parent_run_id is None else await self._store.get_run(record.parent_run_id)
        if parent is not None and isinstance(parent.wait, ChildrenWait) and record.run_id in parent.wait.children:
            key = dict(zip(parent.wait.children, parent.wait.programs, strict=True))[record.run_id]
            for driver in related:  # a child of an earlier version, whose row has a bare name
                child = driver.child_driver(key) if parent.program in driver.known_names else None
                if child is not None and record.program == child.agent.unqualified_name:
                    return child
        raise foreign_run(self._settings, record)

    @property
    def known_names(self) -> tuple[str, ...]:
        """The names that rows of the agent's runs may have, also those of earlier versions."""
        return (*self.agent.names, self.agent.unqualified_name)

    def child_driver(self, key: str) -> Driver | None:
        """Return the driver of a program of children by its key; None if there is no such key."""
        driver = self._children.driver(key) if key in self._settings.children else None
        return driver if isinstance(driver, Driver) else None

    async def _drive(
        self, run_id: str, invocation: Invocation, *, cursor: Cursor | None = None, record: RunRecord | None = None
    ) -> RunResult:
        """Drive a run as far as this call may, and its children concurrently."""
        try:
            return await self._drive_until_stopped(run_id, invocation, cursor, record)
        finally:
            if invocation.children:
                await self._children.leave(invocation)

    async def _drive_until_stopped(
        self, run_id: str, invocation: Invocation, cursor: Cursor | None, record: RunRecord | None
    ) -> RunResult:
        races = 0
        while True:
            if cursor is None:
                record = record or await find_run(self._store, run_id, "resume")
                if record.status in TERMINAL:  # another process has ended it since
                    return self._stored(record)
                if record.status == "waiting" and not await self._waits.is_over(record):
                    if not await self._wait_here(record, invocation):
                        return self._stored(await find_run(self._store, run_id, "resume"))
                    record = None
                    continue
                if await self._is_used_up(record):
                    return self._stored(record)
                cursor = await self._claimed(record, invocation)
                if cursor is None:
                    races += 1
                    if races == _MAX_CLAIM_RACES:
                        raise busy_run(record)
                    record = None
                    continue
                if not cursor.is_active:
                    return self._stored(await find_run(self._store, run_id, "resume"))
            first = cursor.step_index
            self._held[run_id] = cursor
            try:
                result = await self._stepper.drive(cursor, invocation)
            except LeaseLost:
                record = await self._store.get_run(run_id)
                if record is not None and record.status == "cancelled":
                    return self._stored(record)
                raise
            finally:
                del self._held[run_id]
            invocation.count_steps(result.step_index - first)
            if result.status != "waiting" or invocation.is_used_up or self._settings.stop.is_requested:
                return result
            cursor = record = None

    async def _wait_here(self, record: RunRecord, invocation: Invocation) -> bool:
        """Drive the children that a run waits for, and wait here as long as this call may; return
        whether the run may be ready now.
        """
        if self._settings.stop.is_requested:
            return False
        if isinstance(record.wait, ChildrenWait):
            await self._children.drive(record.wait, invocation)
            record = await find_run(self._store, record.run_id, "resume")
            if record.status != "waiting" or await self._waits.is_over(record):
                return True
        return await self._waits.wait_here(record, invocation)

    async def _claimed(self, seen: RunRecord, invocation: Invocation) -> Cursor | None:
        """Claim a run; None if it has changed since it was read.

        The cursor is not active if the run was parked instead.
        """
        state, text = self._read_state(seen, is_resumed=True)
        claim = await self._claim(seen)
        if claim is None:
            return None
        try:
            return await self._cursor_of(claim, seen, state, text, invocation)
        except (Exception, asyncio.CancelledError, KeyboardInterrupt):
            await self._stepper.give_back(claim)
            raise

    async def _cursor_of(self, claim: Claim, seen: RunRecord, state: Any, text: str, invocation: Invocation) -> Cursor:
        if seen.state_version != self._program.version:
            await self._store.replace_state(claim, text, self._program.version)
        was_lost = seen.status == "running"
        crashes = seen.crashes + was_lost
        cursor = self._cursor(
            claim,
            seen.step_index,
            state,
            text,
            attempt=seen.failures + crashes,
            invocation=invocation,
            meter=await self._meter(seen),
        )
        cursor.tries_used = 0 if seen.status in ("failed", "parked") else seen.failures
        cursor.due_at = seen.due_at if was_lost or seen.status == "paused" else None
        cursor.wait = before_step(seen.wait)
        taken_from = seen.owner.pid if was_lost and seen.owner else None
        self._notify(cursor, "run_started", status=seen.status, fence=claim.fence, taken_over_from=taken_from)
        if was_lost and crashes >= self._settings.max_crashes:
            await self._endings.park(cursor, crashes)
        return cursor

    async def _meter(self, record: RunRecord) -> Meter:
        own = Spent(record.step_index, record.spent_tokens, record.spent_cost_usd, record.work_us / 1_000_000)
        spent = await self._store.spent_by_descendants(record.run_id) if self._settings.children else NOTHING_SPENT
        return Meter(Budget.from_json(record.budget), own, spent)

    async def _is_used_up(self, record: RunRecord) -> bool:
        is_limit = record.status == "paused" and record.error is not None and record.error.category == "limit"
        return is_limit and (await self._meter(record)).reached is not None

    async def can_resume(self, record: RunRecord) -> bool:
        """Return whether a waiting run, or a child that it waits for, could be resumed now."""
        if await self._waits.is_over(record):
            return True
        return isinstance(record.wait, ChildrenWait) and await self._children.can_resume(record.wait)

    async def raise_budgets(self, record: RunRecord, remaining: Budget, raised: Budget) -> None:
        """Raise the budgets of the open descendants of a run to what remains of its budget."""
        await self._children.raise_budgets(record.wait, remaining, raised)

    # ------------------------------------------------------------------ ending early

    async def release_runs(self) -> None:
        """Release the runs whose lease could not be released when the database failed.

        Raises:
            StoreError: The database still fails.
        """
        for run_id in list(self._stepper.unreleased):
            await self._stepper.release(run_id)

    def stop_steps(self, run_ids: Iterable[str]) -> None:
        """Stop the steps of runs that were cancelled, without waiting for a heartbeat."""
        for run_id in run_ids:
            if run_id in self._held:
                self._held[run_id].stop_step()

    def related_in_use(self) -> list[Driver]:
        """Return this driver, and those of descendants that were needed so far, each once."""
        return _closure(self, lambda driver: driver._children.drivers_in_use())  # noqa: SLF001  (the same class)

    def all_related(self) -> list[Driver]:
        """Return this driver, and those of all programs of descendants, each once.

        Raises:
            UsageError: Two of their agents have the same name.
        """
        found = _closure(self, lambda driver: driver._children.all_drivers())  # noqa: SLF001  (the same class)
        check_names((driver.agent for driver in found), f"agent {self.agent.name!r} and the children of its runs")
        return found

    def stop(self) -> None:
        """Let every run stop after its step."""
        self._settings.stop.is_requested = True

    # ------------------------------------------------------------------ claiming

    async def _claim(self, record: RunRecord) -> Claim | None:
        """Claim a run; None if it has changed since it was read.

        Raises:
            RunBusy: A live process holds it.
        """
        if record.run_id in self._stepper.unreleased:
            await self._stepper.release(record.run_id)
            return None
        move(record.status, "take_over" if record.status == "running" else "claim", run_id=record.run_id)
        gone = record.owner is not None and is_gone(record.owner)
        if record.is_leased and not gone:
            raise busy_run(record)
        return await self._stepper.claimed(self._store.claim_run(record, self._lease_request(), take_over=gone))

    # ------------------------------------------------------------------ small parts

    def _cursor(
        self,
        claim: Claim,
        step_index: int,
        state: Any,
        committed: str,
        *,
        attempt: int,
        invocation: Invocation,
        meter: Meter,
    ) -> Cursor:
        agent = self.agent
        observers = invocation.observers_with(self._settings.observers)
        ledger = Ledger(self._store, claim, agent, clock=self._clock, observers=observers)
        loop = asyncio.get_running_loop()
        run = RunningRun(claim.run_id, ledger, agent.tools, observers, self._clock, loop, meter)
        return Cursor(claim, run, asyncio.current_task(), step_index, state, committed, attempt)

    def _lease_request(self) -> LeaseRequest:
        settings, program = self._settings, self._program
        return LeaseRequest(
            this_process(),
            settings.lease_s,
            program.fingerprint,
            program.code_at,
            settings.module(),
            program.version,
            self.agent.name,
        )

    def _read_state(self, record: RunRecord, *, is_resumed: bool = False) -> tuple[Any, str]:
        """Read a stored state in the current version; return the value and its JSON."""
        what = f"run {record.run_id!r} (step {record.step_index})"
        try:
            text = self._program.upgraded(record.state, record.state_version, what)
            return self._program.read_state(text, is_resumed=is_resumed), text
        except StateError as exc:
            if record.forked_from is not None and record.step_index == record.forked_from["step_index"] + 1:
                exc.args = (f"{exc} If --patch changed the state of this fork, fork again, with MODULE to check it.",)
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
            wait=None if record.wait is None else record.wait.as_json(),
            was_stored=was_stored,
        )


def _closure(first: Driver, next_ones: Callable[[Driver], Iterable[ChildDriver]]) -> list[Driver]:
    found: list[Driver] = [first]
    for driver in found:
        for each in next_ones(driver):
            is_known = any(each is other or is_same_program(each.agent, other.agent) for other in found)
            if isinstance(each, Driver) and not is_known:
                found.append(each)
    return found
