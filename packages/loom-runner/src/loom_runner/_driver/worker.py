"""The worker: finds runs that can be resumed, and drives them. Theory of operation:

*Which runs can be resumed.* Runs that were created and not started (enqueued, children, forks),
waiting runs that are ready, interrupted runs (Ctrl-C, SIGTERM, a drained worker), and runs whose
process disappeared. Not runs that were paused (by a person, `max_steps` or a budget) or have
failed.

*Which programs.* Runs whose row names one of the worker's agents, by its name or an alias.

*Several workers* may watch one database, without a queue or a coordinator. The first to claim a run
gets it; the others get `RunBusy` and continue with other runs.

*Polling.* The worker looks again after it has found a run, whenever the database changes, and
otherwise after `poll_s`, with increasing delays up to `max_poll_s`, because timers become due and
leases expire without a change. A run that cannot be resumed (its code cannot read its state, its
gate still asks) is skipped for a while, longer each time, so that it does not block others. A run
whose next attempt is due later than in a few polls is given back until then, so that it takes up
none of `concurrency`.

*Errors.* No run ends the worker, whatever it raises. When the database cannot be used (it is
locked, the disk is full), the worker logs that once, pauses, longer each time up to a minute, and
continues. It ends only when that cannot pass: the file was deleted or replaced, or is of a later
version (see `store_trouble`).

*Stopping.* `stop()` is for SIGTERM: no run is begun, every run stops after its step, and steps that
have not ended within `grace_s` are abandoned uncommitted. The next worker resumes these runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

from loom_runner._driver.settings import Invocation
from loom_runner._driver.store_trouble import StoreTrouble
from loom_runner._model.arguments import check_type
from loom_runner._model.clock import SystemClock
from loom_runner._model.error_text import message_of
from loom_runner._model.processes import is_gone
from loom_runner._model.seconds import check_seconds
from loom_runner._program.agent import check_names
from loom_runner._program.threads import forget_cancellation, is_being_cancelled
from loom_runner.errors import LeaseLost, RunBusy, RunnerError, StoreDamaged, StoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loom_runner._driver.driver import Driver
    from loom_runner._model.clock import Clock
    from loom_runner._model.events import Observers
    from loom_runner._model.seconds import Seconds
    from loom_runner._store.protocol import Store

__all__ = ["Runner", "Worker"]

_log: Final = logging.getLogger("loom_runner")
_HOLD_POLLS: Final = 5
"""How many polls a run is held until its next attempt is due."""
_MAX_CANCEL_S: Final = 5.0
"""How long a worker waits for the runs that it has cancelled."""


class Runner(Protocol):
    """The part of an `AgentRunner` that a worker uses."""

    @property
    def store(self) -> Store: ...

    def drivers(self) -> Sequence[Driver]: ...

    def drain(self) -> None: ...


class Worker:
    """Continue runs of these runners, and of their children, whenever they can.

    Args:
        runners: One or more, on the same store.
        concurrency: The largest number of runs that are driven at the same time.
        poll_s: Seconds between two polls while there is work. This and the next two may be a
            `timedelta`.
        max_poll_s: The longest delay between two polls while nothing changes, in seconds.
        grace_s: Seconds after `stop` in which running steps may end.
        clock: Time, and waiting between two polls.

    Raises:
        UsageError: The runners do not share a store, or an argument is not valid. `run` raises it
            if two agents have the same name.
    """

    def __init__(
        self,
        *runners: Runner,
        concurrency: int = 4,
        poll_s: Seconds = 0.2,
        max_poll_s: Seconds = 5.0,
        grace_s: Seconds = 10.0,
        clock: Clock | None = None,
    ) -> None:
        verb = "create a worker"
        for runner in runners:
            if not hasattr(runner, "drivers") or not hasattr(runner, "drain"):
                raise UsageError(
                    f"cannot {verb}: {runner!r:.60} is not a runner. "
                    "Pass AgentRunner(...), or AgentRunner.of(agent, engine)."
                )
        check_type(verb, "concurrency", concurrency, int, "a whole number from 1 up")
        self._poll_s = check_seconds(verb, "poll_s", poll_s, is_positive=True)
        self._max_poll_s = check_seconds(verb, "max_poll_s", max_poll_s, is_positive=True)
        self._grace_s = check_seconds(verb, "grace_s", grace_s)
        if not runners or any(runner.store is not runners[0].store for runner in runners):
            raise UsageError("cannot create a worker: give it runners that share one store.")
        if concurrency < 1 or self._poll_s > self._max_poll_s:
            raise UsageError(f"cannot {verb}: concurrency starts at 1, and poll_s is at most max_poll_s.")
        self._runners = runners
        self._store = runners[0].store
        self._concurrency = concurrency
        self._clock = clock or SystemClock()
        self._stopped = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._backoff: dict[str, tuple[int, float]] = {}
        self._trouble = StoreTrouble(self._poll_s, self._clock)
        self._is_until_idle = self._is_ending = False
        self._drivers: dict[str, Driver] = {}
        self._listeners: tuple[Observers, ...] = ()

    async def run(self, *, until_idle: bool = False) -> int:
        """Work until `stop` is called.

        Args:
            until_idle: End as soon as no run can be resumed.

        Returns:
            How many times a run was resumed.

        Raises:
            StoreError: The database cannot be used, and that does not pass by itself; with
                `until_idle` also if it did not pass within 5 minutes.
        """
        driver_groups = [runner.drivers() for runner in self._runners]
        drivers = [driver for related in driver_groups for driver in related]
        check_names((driver.agent for driver in drivers), "one worker")
        self._drivers = {name: driver for driver in drivers for name in driver.agent.names}
        self._listeners = tuple(related[0].observers for related in driver_groups)
        begun, delay_s = 0, self._poll_s
        self._is_until_idle, self._is_ending = until_idle, False
        try:
            while not self._stopped.is_set():
                mark, new = await self._poll()
                begun += new
                if until_idle and mark is not None and not new and not self._tasks:
                    break
                delay_s = self._poll_s if new else min(delay_s * 2, self._max_poll_s)
                await self._wait(self._trouble.left_s or delay_s, mark)
            if self._tasks:
                await asyncio.wait(self._tasks.values(), timeout=self._grace_s)
            return begun
        finally:
            await self._end()

    def stop(self) -> None:
        """Begin no run, and stop every run after its step. May be called from a signal handler."""
        for runner in self._runners:
            runner.drain()
        self._stopped.set()

    async def _poll(self) -> tuple[object | None, int]:
        """Begin runs; return the mark of the database before that, and how many were begun. There
        is no mark if the database cannot be used.
        """
        if self._trouble.left_s:
            return None, 0
        try:
            if self._trouble.is_present:
                for driver in set(self._drivers.values()):
                    await driver.release_runs()
            mark = self._store.change_mark()
            new = await self._begin()
        except StoreError as exc:
            self._trouble.add(exc, is_poll=True, is_until_idle=self._is_until_idle)
            return None, 0
        self._trouble.succeeded(is_poll=True)
        return mark, new

    async def _begin(self) -> int:
        free = self._concurrency - len(self._tasks)
        if free <= 0:
            return 0
        now = self._clock.now_us()
        skipped = {run_id for run_id, (until, _) in self._backoff.items() if until > now} | self._tasks.keys()
        programs, limit = list(self._drivers), free + len(skipped)
        found = await self._store.ready_runs(programs, now, limit=limit)
        ready = [(run.run_id, run.program) for run in found]
        if len(ready) < limit:  # the lease of a process that has just ended may not have expired
            holders = await self._store.holders(programs)
            ready += [(run_id, program) for run_id, program, owner in holders if is_gone(owner)]
        chosen = [each for each in ready if each[0] not in skipped][:free]
        for run_id, program in chosen:
            work = self._resume(run_id, self._drivers[program])
            self._tasks[run_id] = asyncio.create_task(work, name=f"loom-runner {run_id}")
        return len(chosen)

    async def _resume(self, run_id: str, driver: Driver) -> None:
        try:
            if await self._has_moved(run_id, driver):
                self._backoff.pop(run_id, None)
            else:
                self._back_off(run_id)
            self._trouble.succeeded(is_poll=False)
        except StoreError as exc:
            self._trouble.add(exc, is_poll=False, is_until_idle=self._is_until_idle)

    async def _has_moved(self, run_id: str, driver: Driver) -> bool:
        """Resume a run; return whether its row has changed. A run that cannot be resumed has not
        moved, although it may have been claimed.
        """
        before = await self._store.statuses((run_id,))
        why = ""
        try:
            hold_s = _HOLD_POLLS * self._poll_s
            invocation = Invocation(hold_s=hold_s, listeners=self._listeners, is_stopping=lambda: self._is_ending)
            await driver.resume(run_id, invocation)
        except (RunBusy, LeaseLost):
            pass  # another worker has it
        except RunnerError as exc:
            if isinstance(exc, StoreError) and not isinstance(exc, StoreDamaged):
                raise
            why = str(exc)
        except asyncio.CancelledError:
            if self._is_ending and is_being_cancelled():
                raise
            forget_cancellation()
            why = "it was cancelled by its own code"
        except (Exception, SystemExit) as exc:  # noqa: BLE001  (for instance of a function that creates a child's agent)
            why = f"{type(exc).__name__}: {message_of(exc)}"
        if why:
            _log.warning("the worker cannot resume %s: %s", run_id, why)
            return False
        return before != await self._store.statuses((run_id,))

    def _back_off(self, run_id: str) -> None:
        delay_s = min(2 * self._backoff.get(run_id, (0, self._poll_s))[1], 60.0)
        self._backoff[run_id] = (self._clock.now_us() + int(delay_s * 1_000_000), delay_s)

    async def _wait(self, delay_s: float, mark: object | None) -> None:
        """Wait until a run is done, the database changes, the worker is stopped, or the time is
        over.
        """
        waits: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(self._clock.sleep(delay_s)),
            asyncio.ensure_future(self._stopped.wait()),
        ]
        if mark is not None and not self._tasks:  # the worker's runs change the database all the time
            waits.append(asyncio.ensure_future(self._look_for_change(mark, delay_s)))
        try:
            await asyncio.wait([*waits, *self._tasks.values()], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        self._collect()

    async def _look_for_change(self, mark: object, delay_s: float) -> None:
        with contextlib.suppress(StoreError):  # the next poll meets it again
            await self._store.wait_for_change(mark, delay_s)

    def _collect(self) -> None:
        done = {run_id: task for run_id, task in self._tasks.items() if task.done()}
        for run_id in done:
            del self._tasks[run_id]
        for run_id, task in done.items():
            if task.cancelled():  # by the code of its last step; the worker cancels its runs when it ends
                self._back_off(run_id)
            else:
                task.result()

    async def _end(self) -> None:
        """Stop the runs that are still driven, uncommitted."""
        self._is_ending = True
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            ended, open_ones = await asyncio.wait(tasks, timeout=_MAX_CANCEL_S)
            for task in ended:
                if not task.cancelled():
                    task.exception()  # the first error is raised already
            for task in open_ones:
                _log.warning("%s goes on, although it was cancelled: its step ignores that", task.get_name())
