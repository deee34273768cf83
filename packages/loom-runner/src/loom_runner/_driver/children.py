"""Child runs: how a parent starts them, drives them, and gets their results. Theory of operation:

*Started.* The rows of the children are written, with the status `created`, in the transaction that
commits the parent's step, so a crash leaves either none or all of them. Their ids are derived from
the parent's, so a repeated step finds the same children.

*Driven.* The parent is `waiting` and has no holder. The process that drove it now drives its
children, each with its own lease, like any other run. So a killed child is taken over by the
parent's next `resume` or by a worker; and two processes that resume the same parent divide its
children between them.

*Waiting.* A child that waits (for an approval, a signal, a timer) or pauses stays so; its siblings
continue. While one of them runs, waiting children are checked again: a sibling may send the signal,
a timer may become due. When no child can be resumed here and too few have settled, the parent stays
`waiting`.

*Settled.* The first process that finds enough settled children claims the parent; the fence allows
only one. What the children have spent counts against the parent's budget, and each child starts
with what remains of it.

*Ended early.* With `until="any"` the parent continues while other children still run. They run
concurrently; the transaction that completes the parent cancels them, and when the parent stops for
another reason, they pause.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from loom_runner._driver.new_runs import is_same_input
from loom_runner._model.budget import Budget
from loom_runner._model.records import Spent
from loom_runner._model.results import ChildResult
from loom_runner._model.waits import SETTLED, ChildrenWait
from loom_runner._model.writes import NewRun
from loom_runner._program.agent import check_names
from loom_runner.errors import LeaseLost, RunBusy, RunExists, UsageError
from loom_runner.run_ids import child_name, child_run_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loom_runner._driver.cursor import Cursor
    from loom_runner._driver.settings import ChildDriver, Invocation, Settings
    from loom_runner._model.outcomes import Child, Spawn
    from loom_runner._model.records import RunRecord
    from loom_runner._model.waits import WaitFor
    from loom_runner._store.protocol import Store

__all__ = ["ChildRuns", "child_results"]


async def spent_by(store: Store, record: RunRecord) -> Spent:
    """Return what a run and its descendants have used."""
    own = Spent(record.step_index, record.spent_tokens, record.spent_cost_usd, record.work_us / 1_000_000)
    return own + await store.spent_by_descendants(record.run_id)


async def child_results(store: Store, wait: ChildrenWait) -> dict[str, ChildResult]:
    """Return the results of the children that a step waited for, by name."""
    found = {}
    for run_id in wait.children:
        record = await store.get_run(run_id)
        if record is not None:
            name = child_name(run_id)
            result = None if record.result is None else json.loads(record.result)
            found[name] = ChildResult(name, run_id, record.status, result, record.error)
    return found


class ChildRuns:
    """The child runs of one agent's runs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = settings.store
        self._drivers: dict[str, ChildDriver] = {}

    async def prepare(self, cursor: Cursor, spawn: Spawn[Any]) -> tuple[tuple[NewRun, ...], ChildrenWait]:
        """Return the rows of a step's children, and what the parent waits for.

        Raises:
            UsageError: A program is unknown, a name is not valid, or the id is taken by another
                run.
            StateEncodeError: An input does not fit its program.
        """
        remaining = cursor.run.meter.remaining
        rows = [await self._row(cursor.run_id, child, remaining) for child in spawn.children]
        programs = tuple(child.program for child in spawn.children)
        return tuple(rows), ChildrenWait(tuple(row.run_id for row in rows), spawn.needed, programs)

    async def _row(self, parent_id: str, child: Child, remaining: Budget) -> NewRun:
        run_id = child_run_id(parent_id, child.name)
        driver = self.driver(child.program)
        program = driver.agent.program
        text = program.begin(child.input)
        known = await self._store.get_run(run_id)
        if known is not None and (known.parent_run_id != parent_id or not is_same_input(program, known, text)):
            raise RunExists(
                f"cannot start child {run_id!r}: a run of this name exists with another input. Give it another name.",
                run_id=run_id,
            )
        limits = remaining if child.budget is None else remaining.capped_by(child.budget)
        budget = None if limits.is_unlimited else json.dumps(limits.as_json())
        now = self._settings.clock.now_us()
        return NewRun(run_id, driver.agent.name, text, text, now, budget, program.version)

    def driver(self, key: str) -> ChildDriver:
        """Return the driver of a program of children, by its key in `children=`.

        Raises:
            UsageError: There is no such program, or two of these agents have the same name.
        """
        if key not in self._drivers:
            known = self._settings.children
            if key not in known:
                names = ", ".join(sorted(known)) or "none"
                raise UsageError(
                    f"cannot start a child of program {key!r}: the agent has no such program. Programs: {names}."
                )
            driver = known[key]()
            agents = [self._settings.agent, *(each.agent for each in self._drivers.values()), driver.agent]
            check_names(agents, f"the children of agent {self._settings.agent.name!r}")
            self._drivers[key] = driver
        return self._drivers[key]

    def all_drivers(self) -> list[ChildDriver]:
        """Return the drivers of all programs of children."""
        return [self.driver(key) for key in self._settings.children]

    def drivers_in_use(self) -> list[ChildDriver]:
        """Return the drivers that were needed so far."""
        return list(self._drivers.values())

    async def settled(self, wait: ChildrenWait) -> int:
        """Count the children that have settled."""
        return sum(status in SETTLED for status, _ in (await self._store.statuses(wait.children)).values())

    async def drive(self, wait: ChildrenWait, invocation: Invocation) -> None:
        """Drive the children that a parent waits for, until enough have settled or none can be
        resumed here.
        """
        programs = dict(zip(wait.children, wait.programs, strict=True))
        while await self.settled(wait) < wait.needed and not self._settings.stop.is_requested:
            waiting = await self._begin(programs, invocation)
            tasks = [invocation.children[run_id] for run_id in programs if run_id in invocation.children]
            if not tasks:
                return
            await self._wait_for_one(tasks, waiting)
            _collect(invocation)

    async def _begin(self, programs: Mapping[str, str], invocation: Invocation) -> list[RunRecord]:
        """Resume each child that can be resumed; return those that wait."""
        waiting = []
        for run_id, (status, fence) in (await self._store.statuses(list(programs))).items():
            if status in SETTLED or run_id in invocation.children:
                continue
            child = invocation.invocations.setdefault(run_id, invocation.for_child(self._settings.observers))
            driver = self.driver(programs[run_id])
            record = await self._store.get_run(run_id) if status == "waiting" else None
            is_ready = record is None or await driver.can_resume(record)
            if run_id in invocation.resumed_at:
                # This call has resumed it before: resume it again only if its wait is over, and it
                # has changed since or its wait was not over then.
                unmoved = invocation.resumed_at[run_id] == fence
                if record is None or child.is_used_up or unmoved:
                    continue
                if not is_ready:
                    waiting.append(record)
                    continue
            invocation.resumed_at[run_id] = fence if is_ready else None
            work = self._driven(driver, run_id, child)
            invocation.children[run_id] = asyncio.create_task(work, name=f"loom-runner {run_id}")
        return waiting

    async def _wait_for_one(self, tasks: list[asyncio.Task[None]], waiting: list[RunRecord]) -> None:
        """Wait until a child is done, or the wait of another child may be over."""
        if not waiting:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return
        clock = self._settings.clock
        now = clock.now_us()
        due_s = min(((record.due_at - now) / 1_000_000 for record in waiting if record.due_at is not None), default=1.0)
        pause = asyncio.ensure_future(clock.sleep(min(max(due_s, 0.05), 1.0)))
        try:
            await asyncio.wait([*tasks, pause], return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()

    async def can_resume(self, wait: ChildrenWait) -> bool:
        """Return whether one of the children that a parent waits for could be resumed."""
        programs = dict(zip(wait.children, wait.programs, strict=True))
        for run_id, (status, _) in (await self._store.statuses(wait.children)).items():
            if status == "created":
                return True
            record = await self._store.get_run(run_id) if status == "waiting" else None
            if record is not None and await self.driver(programs[run_id]).can_resume(record):
                return True
        return False

    async def raise_budgets(self, wait: WaitFor | None, remaining: Budget, raised: Budget) -> None:
        """Raise the raised limits of open children to what remains of the parent's budget."""
        if not isinstance(wait, ChildrenWait):
            return
        for run_id, program in zip(wait.children, wait.programs, strict=True):
            record = await self._store.get_run(run_id)
            if record is None or record.status in SETTLED or record.budget is None:
                continue
            limits, room = Budget.from_json(record.budget), remaining.more(await spent_by(self._store, record))
            wanted = {name: value for name, value in room.as_json().items() if name in raised.as_json()}
            after = limits.raised_by(Budget(**wanted))
            await self._store.set_budget(run_id, json.dumps(after.as_json()))
            await self.driver(program).raise_budgets(record, remaining, raised)

    @staticmethod
    async def _driven(driver: ChildDriver, run_id: str, invocation: Invocation) -> None:
        try:
            await driver.resume(run_id, invocation, through_parent=True)
        except (RunBusy, LeaseLost):
            return  # another process has it

    @staticmethod
    async def leave(invocation: Invocation) -> None:
        """Stop driving open children. Those of a completed parent are cancelled already."""
        for task in invocation.children.values():
            task.cancel()
        await asyncio.gather(*invocation.children.values(), return_exceptions=True)
        invocation.children.clear()


def _collect(invocation: Invocation) -> None:
    """Remove the children that are done, and raise the error of one that failed with an
    exception.
    """
    done = {run_id: task for run_id, task in invocation.children.items() if task.done()}
    for run_id in done:
        del invocation.children[run_id]
    for task in done.values():
        task.result()
