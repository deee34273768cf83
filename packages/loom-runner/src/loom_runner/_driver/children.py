"""Child runs: how a parent starts them, drives them, and sees what became of them. Theory of operation:

*Started.* The rows of the children are written, with the status `created`, in the transaction that commits the
parent's step. Before it there are none, after it there are all; a crash cannot leave some. The id says whose child
it is, so a step that is tried again finds the same children.

*Driven.* The parent is `waiting` and nobody holds it. The process that drove it now drives its children, each as any
run is driven: claimed, stepped, committed, with a lease of its own. So a child that is killed is taken over like any
other run, by the parent's next `resume` or by a worker; and two processes that resume the same parent share its
children between them, each child being held by one.

*Left waiting.* A child that waits (for an approval, a signal, a timer) or that pauses is left so; its siblings go on.
While one of them works, waiting ones are looked at again: a sibling may send the signal, a timer may become due. When
no child can go further here and too few have settled, the parent stays `waiting`.

*Settled.* Whoever finds that enough children have settled claims the parent; the fence allows one. What they have
spent counts against the parent's budget, and each starts with what remained of it.

*Ended early.* With `until="any"` the parent goes on while others still run. They go on beside it; the transaction that
completes the parent cancels them, and when the parent stops for another reason, they pause.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from loom_runner._model.budget import Budget
from loom_runner._model.records import ErrorInfo, NewRun, Spent
from loom_runner._store.lookup import check_run_id
from loom_runner.errors import LeaseLost, RunBusy, RunExists, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loom_runner._driver.cursor import Cursor, Settings, Visit
    from loom_runner._driver.driver import Driver
    from loom_runner._model.outcomes import Child, Spawn
    from loom_runner._model.records import RunRecord
    from loom_runner._model.statuses import Status
    from loom_runner._store.protocol import Store

__all__ = ["SETTLED", "ChildResult", "Family", "child_results"]

SETTLED: Final[frozenset[Status]] = frozenset({"completed", "failed", "cancelled", "parked"})
"""The statuses in which a child has an answer for its parent."""


@dataclass(frozen=True, slots=True)
class ChildResult:
    """How a child stands. `result` is plain JSON; `error` says why it failed, parked or was cancelled."""

    name: str
    run_id: str
    status: Status
    result: Any = None
    error: ErrorInfo | None = None

    @property
    def is_settled(self) -> bool:
        return self.status in SETTLED


def spent_by(store: Store, record: RunRecord) -> Spent:
    """What a run and its descendants have used."""
    own = Spent(record.step_index, record.spent_tokens, record.spent_cost_usd, record.work_us / 1_000_000)
    return own + store.spent_by_descendants(record.run_id)


def child_results(settings: Settings, wait: Mapping[str, Any]) -> dict[str, ChildResult]:
    """Read the children that a step waited for, by name."""
    found = {}
    for run_id in wait["children"]:
        record = settings.store.get_run(run_id)
        if record is not None:
            name = run_id.rpartition(":sub:")[2]
            result = None if record.result is None else json.loads(record.result)
            found[name] = ChildResult(name, run_id, record.status, result, record.error)
    return found


class Family:
    """The children of one runner's runs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = settings.store
        self._drivers: dict[str, Driver] = {}

    def prepared(self, cursor: Cursor, spawn: Spawn[Any]) -> tuple[tuple[NewRun, ...], dict[str, Any]]:
        """Make the rows of a step's children, and what the parent waits for.

        Raises:
            UsageError: A program is not known, a name is no name, or a run of this id is something else.
            StateEncodeError: An input does not fit its program.
        """
        remaining = cursor.run.meter.remaining
        rows = tuple(self._row(cursor.run_id, child, remaining) for child in spawn.children)
        wait = {
            "children": [row.run_id for row in rows],
            "needed": spawn.needed,
            "programs": [child.program for child in spawn.children],
        }
        return rows, wait

    def _row(self, parent_id: str, child: Child, remaining: Budget) -> NewRun:
        run_id = f"{parent_id}:sub:{child.name}"
        if ":sub:" in child.name:
            raise UsageError(f"cannot start child {child.name!r}: ':sub:' divides the names of a family.")
        check_run_id(child.name, "start child")
        check_run_id(run_id, "start child")
        driver = self._driver(child.program)
        text, _ = driver.program.begin(child.input)
        known = self._store.get_run(run_id)
        if known is not None and (known.parent_run_id != parent_id or not driver.is_same_input(known, text)):
            raise RunExists(
                f"cannot start child {run_id!r}: a run of this name exists with another input. Give it another name.",
                run_id=run_id,
            )
        limits = remaining if child.budget is None else remaining.capped_by(child.budget)
        budget = None if limits.is_unlimited else json.dumps(limits.as_json())
        now = self._settings.clock.now_us()
        return NewRun(run_id, driver.program.name, text, text, now, budget, driver.program.version)

    def _driver(self, program: str) -> Driver:
        if program not in self._drivers:
            known = self._settings.children
            if program not in known:
                names = ", ".join(sorted(known)) or "none"
                raise UsageError(
                    f"cannot start a child of program {program!r}: the runner was given no such one. Programs: {names}."
                )
            self._drivers[program] = known[program]()
        return self._drivers[program]

    def know_all(self) -> None:
        """Make every program of children known."""
        for program in self._settings.children:
            self._driver(program)

    def known_drivers(self) -> list[Driver]:
        """The drivers of children that were needed so far."""
        return list(self._drivers.values())

    def settled(self, wait: Mapping[str, Any]) -> int:
        """Count the children that have settled."""
        return sum(status in SETTLED for status, _ in self._store.standings(wait["children"]).values())

    async def drive(self, parent: RunRecord, visit: Visit) -> None:
        """Drive the children that a parent waits for, until enough have settled or none can go further here."""
        wait = parent.wait or {}
        programs = dict(zip(wait["children"], wait["programs"], strict=True))
        while self.settled(wait) < wait["needed"] and not self._settings.stop.is_asked:
            parked = await self._begin(programs, visit)
            tasks = [visit.children[run_id] for run_id in programs if run_id in visit.children]
            if not tasks:
                return
            await self._look_again(tasks, parked)
            _collect(visit)

    async def _begin(self, programs: Mapping[str, str], visit: Visit) -> list[RunRecord]:
        """Go on with each child that can; return those that are parked."""
        parked = []
        for run_id, (status, fence) in self._store.standings(list(programs)).items():
            if status in SETTLED or run_id in visit.children:
                continue
            child = visit.visits.setdefault(run_id, visit.for_child(self._settings.observers))
            driver = self._driver(programs[run_id])
            if run_id in visit.left_at:
                # This visit has gone on with it before: again only when its wait is over, and it has moved since.
                record = self._store.get_run(run_id)
                if record is None or status != "waiting" or child.is_used_up or visit.left_at[run_id] == fence:
                    continue
                if not await driver.can_go_on(record):
                    parked.append(record)
                    continue
            visit.left_at[run_id] = fence
            work = self._driven(driver, run_id, child)
            visit.children[run_id] = asyncio.create_task(work, name=f"loom-runner {run_id}")
        return parked

    async def _look_again(self, tasks: list[asyncio.Task[None]], parked: list[RunRecord]) -> None:
        """Wait until a child is done; while another one is parked, no longer than until its wait may be over."""
        if not parked:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return
        clock = self._settings.clock
        now = clock.now_us()
        due_s = min(((record.due_at - now) / 1_000_000 for record in parked if record.due_at is not None), default=1.0)
        pause = asyncio.ensure_future(clock.sleep(min(max(due_s, 0.05), 1.0)))
        try:
            await asyncio.wait([*tasks, pause], return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()

    async def can_go_on(self, wait: Mapping[str, Any]) -> bool:
        """Say whether a child could be gone on with, of a parent that still waits for its children."""
        programs = dict(zip(wait["children"], wait["programs"], strict=True))
        for run_id, (status, _) in self._store.standings(wait["children"]).items():
            if status == "created":
                return True
            record = self._store.get_run(run_id) if status == "waiting" else None
            if record is not None and await self._driver(programs[run_id]).can_go_on(record):
                return True
        return False

    async def raise_budgets(self, parent: RunRecord, remaining: Budget, raised: Budget) -> None:
        """Let open children use what a parent may use now, of the limits that were raised."""
        wait = parent.wait or {}
        for run_id, program in zip(wait["children"], wait["programs"], strict=True):
            record = self._store.get_run(run_id)
            if record is None or record.status in SETTLED or record.budget is None:
                continue
            limits, room = Budget.from_json(record.budget), remaining.more(spent_by(self._store, record))
            wanted = {name: value for name, value in room.as_json().items() if name in raised.as_json()}
            after = limits.raised_by(Budget(**wanted))
            await self._store.set_budget(run_id, json.dumps(after.as_json()))
            await self._driver(program).raise_budgets(record, remaining, raised)

    @staticmethod
    async def _driven(driver: Driver, run_id: str, visit: Visit) -> None:
        try:
            await driver.resume(run_id, visit)
        except (RunBusy, LeaseLost):
            return  # another process has it

    @staticmethod
    async def leave(visit: Visit) -> None:
        """Stop driving what is still open; children of a parent that has completed are cancelled already."""
        for task in visit.children.values():
            task.cancel()
        await asyncio.gather(*visit.children.values(), return_exceptions=True)
        visit.children.clear()


def _collect(visit: Visit) -> None:
    """Take out the children that are done; an error that one of them left with is raised here."""
    done = {run_id: task for run_id, task in visit.children.items() if task.done()}
    for run_id in done:
        del visit.children[run_id]
    for task in done.values():
        task.result()


def lazily(children: Mapping[str, Any], driver_of: Callable[[Any], Driver]) -> dict[str, Callable[[], Driver]]:
    """Turn runners, and factories of runners, into what makes a driver when it is needed."""

    def maker(given: Any) -> Callable[[], Driver]:
        return lambda: driver_of(given)

    return {name: maker(given) for name, given in children.items()}
