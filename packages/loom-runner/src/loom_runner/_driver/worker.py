"""A worker: it looks for runs that can continue, and drives them. Theory of operation:

*What can continue.* A run that was created and not begun (enqueued, a child, a fork); one that waits and whose time,
signal, decision or children have come; one that was interrupted (Ctrl-C, SIGTERM, a drained worker); one whose process
disappeared. Not one that was paused, by a person, by `max_steps` or by its budget, and not one that has failed.

*Which runs.* Those whose row names one of the worker's agents, by its name or an alias. A run of another program is
left to others.

*Who gets it.* Whoever claims it first; the others are told that it is busy and look elsewhere. There is no queue and
no master: any number of workers may watch one database.

*How often it looks.* At once after it has found something, and whenever the database changes; without a change after
`poll_s`, and ever more slowly up to `max_poll_s`, because time alone makes timers due and leases run out. A run that
cannot continue (its code cannot read its state, its gate still asks) is left alone for a while, longer each time, so
that it does not keep the worker from others.

*How it ends.* `stop()` is what SIGTERM should call: nothing new is begun, every run stops after its step, and what
has not stopped within `grace_s` is abandoned uncommitted. All of it is found by the next worker.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol

from loom_runner._driver.settings import Invocation
from loom_runner._model.clock import SystemClock
from loom_runner._model.processes import is_gone
from loom_runner._program.agent import check_names
from loom_runner.errors import LeaseLost, RunBusy, RunnerError, StoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loom_runner._driver.driver import Driver
    from loom_runner._model.clock import Clock
    from loom_runner._model.events import Observers
    from loom_runner._store.protocol import Store

__all__ = ["Runner", "Worker"]


class Runner(Protocol):
    """What a worker needs of an `AgentRunner`."""

    @property
    def store(self) -> Store: ...

    def drivers(self) -> Sequence[Driver]: ...

    def drain(self) -> None: ...


class Worker:
    """Continue runs of these runners, and of their children, whenever they can.

    Args:
        runners: One or more, on the same store.
        concurrency: How many runs at a time.
        poll_s: Seconds between two looks while there is work.
        max_poll_s: The longest time between two looks while nothing changes.
        grace_s: Seconds that a step has to end in after `stop`.
        clock: Time, and waiting between two looks.

    Raises:
        UsageError: The runners do not share a store, or two agents have one name; the latter by `run`.
    """

    def __init__(
        self,
        *runners: Runner,
        concurrency: int = 4,
        poll_s: float = 0.2,
        max_poll_s: float = 5.0,
        grace_s: float = 10.0,
        clock: Clock | None = None,
    ) -> None:
        if not runners or any(runner.store is not runners[0].store for runner in runners):
            raise UsageError("cannot make a worker: give it runners that share one store.")
        if concurrency < 1 or not 0 < poll_s <= max_poll_s or not grace_s >= 0:
            raise UsageError("cannot make a worker: concurrency starts at 1, and poll_s lies above 0 up to max_poll_s.")
        self._runners = runners
        self._store = runners[0].store
        self._concurrency = concurrency
        self._poll_s = poll_s
        self._max_poll_s = max_poll_s
        self._grace_s = grace_s
        self._clock = clock or SystemClock()
        self._stopped = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._backoff: dict[str, tuple[int, float]] = {}
        self._drivers: dict[str, Driver] = {}
        self._listeners: tuple[Observers, ...] = ()

    async def run(self, *, until_idle: bool = False) -> int:
        """Work until `stop` is called.

        Args:
            until_idle: End as soon as nothing can go on.

        Returns:
            How many times a run was resumed.

        Raises:
            StoreError: The database cannot be used.
        """
        driver_groups = [runner.drivers() for runner in self._runners]
        drivers = [driver for related in driver_groups for driver in related]
        check_names((driver.agent for driver in drivers), "one worker")
        self._drivers = {name: driver for driver in drivers for name in driver.agent.names}
        self._listeners = tuple(related[0].observers for related in driver_groups)
        begun, delay_s = 0, self._poll_s
        try:
            while not self._stopped.is_set():
                mark = self._store.change_mark()
                new = await self._begin()
                begun += new
                if until_idle and not new and not self._tasks:
                    break
                delay_s = self._poll_s if new else min(delay_s * 2, self._max_poll_s)
                await self._wait(delay_s, mark)
            return begun
        finally:
            await self._end()

    def stop(self) -> None:
        """End soon: begin nothing new, and let every run stop after its step. May be called from a signal handler."""
        for runner in self._runners:
            runner.drain()
        self._stopped.set()

    async def _begin(self) -> int:
        free = self._concurrency - len(self._tasks)
        if free <= 0:
            return 0
        now = self._clock.now_us()
        skipped = {run_id for run_id, (until, _) in self._backoff.items() if until > now} | self._tasks.keys()
        programs, limit = list(self._drivers), free + len(skipped)
        found = await self._store.ready_runs(programs, now, limit=limit)
        ready = [(record.run_id, record.program) for record in found]
        if len(ready) < limit:  # a process that died a moment ago has a lease that still lasts on paper
            holders = await self._store.holders(programs)
            ready += [(run_id, program) for run_id, program, owner in holders if is_gone(owner)]
        chosen = [each for each in ready if each[0] not in skipped][:free]
        for run_id, program in chosen:
            work = self._resume(run_id, self._drivers[program])
            self._tasks[run_id] = asyncio.create_task(work, name=f"loom-runner {run_id}")
        return len(chosen)

    async def _resume(self, run_id: str, driver: Driver) -> None:
        before = await self._store.get_run(run_id)
        try:
            await driver.resume(run_id, Invocation(listeners=self._listeners))
        except (RunBusy, LeaseLost):
            pass  # another worker has it
        except StoreError:
            raise
        except RunnerError as exc:
            logging.getLogger("loom_runner").warning("the worker cannot resume %s: %s", run_id, exc)
        after = await self._store.get_run(run_id)
        if before is not None and after is not None and (before.fence, before.status) == (after.fence, after.status):
            delay_s = min(2 * self._backoff.get(run_id, (0, self._poll_s))[1], 60.0)
            self._backoff[run_id] = (self._clock.now_us() + int(delay_s * 1_000_000), delay_s)
        else:
            self._backoff.pop(run_id, None)

    async def _wait(self, delay_s: float, mark: object) -> None:
        """Wait for the next look: until a run is done, the database changes, somebody stops the worker, or the time is
        over."""
        waits: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(self._clock.sleep(delay_s)),
            asyncio.ensure_future(self._stopped.wait()),
        ]
        if not self._tasks:  # runs of its own change the database all the time
            waits.append(asyncio.ensure_future(self._store.wait_for_change(mark, delay_s)))
        try:
            await asyncio.wait([*waits, *self._tasks.values()], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        self._collect()

    def _collect(self) -> None:
        done = {run_id: task for run_id, task in self._tasks.items() if task.done()}
        for run_id in done:
            del self._tasks[run_id]
        for task in done.values():
            task.result()

    async def _end(self) -> None:
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=self._grace_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
