"""The engine that is a driver on a store: agents execute in this process, their runs are rows of a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from loom_runner._control.decide import decide_approval
from loom_runner._control.fork import fork_run
from loom_runner._control.lifecycle import cancel_run, pause_run
from loom_runner._control.resolve import resolve_call
from loom_runner._control.signals import send_signal
from loom_runner._driver.driver import Driver
from loom_runner._driver.settings import Invocation, Settings
from loom_runner._model.clock import SystemClock
from loom_runner._model.events import Observers
from loom_runner._program.agent import Agent
from loom_runner._queries.runs import Runs
from loom_runner._queries.views import approval_view
from loom_runner.errors import UsageError
from loom_runner.run_ids import check_run_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from loom_runner._engines.protocol import Capability
    from loom_runner._model.approvals import DecisionKind
    from loom_runner._model.budget import Budget
    from loom_runner._model.clock import Clock
    from loom_runner._model.events import Observer
    from loom_runner._model.results import RunResult
    from loom_runner._store.protocol import Store

__all__ = ["LocalEngine"]

_CAPABILITIES: Final[frozenset[Capability]] = frozenset(
    {"attempts", "budgets", "children", "fork", "pause", "retention", "state_versions", "timers"}
)


class LocalEngine:
    """Execute agents in this process, and keep their runs in a store.

    Args:
        store: Where the rows are, for instance `open_store("runs.sqlite")`.
        observers: Called with every `RunEvent`; one that raises is dropped and never breaks a run.
        clock: Time, waiting and chance.
        lease_s: How long a run stays reserved for a process that gives no sign of life.
        max_crashes: A step that took its process down this often is parked.
        module: The agent module as its caller named it, for hints that can be pasted; may be set later.

    Raises:
        UsageError: A number is out of range.
    """

    def __init__(
        self,
        store: Store,
        *,
        observers: Sequence[Observer] = (),
        clock: Clock | None = None,
        lease_s: float = 15.0,
        max_crashes: int = 10,
        module: str | None = None,
    ) -> None:
        if not lease_s > 0 or max_crashes < 1:
            raise UsageError("cannot make an engine: lease_s is above 0 and max_crashes is at least 1.")
        self.store = store
        self.module = module
        self.runs = Runs(store, clock=clock)
        self.clock = clock or SystemClock()
        self.observers = Observers(tuple(observers))
        self._lease_s = lease_s
        self._max_crashes = max_crashes
        self._is_stopping = False
        self._drivers: dict[int, Driver] = {}

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Everything."""
        return _CAPABILITIES

    def driver(self, agent: Agent) -> Driver:
        """Return what drives the runs of an agent, always the same one."""
        driver = self._drivers.get(id(agent))
        if driver is None:
            settings = Settings(
                agent,
                self.store,
                self.observers,
                self.clock,
                self._lease_s,
                self._max_crashes,
                module=lambda: self.module,
                children={key: self._maker(given) for key, given in agent.children.items()},
            )
            driver = self._drivers[id(agent)] = Driver(settings)  # which keeps the agent, and so its id, alive
            if self._is_stopping:
                driver.stop()
        return driver

    def _maker(self, given: Any) -> Callable[[], Driver]:
        """Return what makes the driver of a child's agent, given as an agent, a runner, or a function that makes one.

        A runner has an engine of its own, with its own observers and lease time, on the same store.
        """

        def make() -> Driver:
            child = given if isinstance(given, Agent) or hasattr(given, "engine") else given()
            if isinstance(child, Agent):
                return self.driver(child)
            engine, agent = getattr(child, "engine", None), getattr(child, "agent", None)
            if not isinstance(engine, LocalEngine) or not isinstance(agent, Agent) or engine.store is not self.store:
                raise UsageError(
                    "cannot start a child: its program is neither an Agent nor an AgentRunner on the store of its "
                    "parent."
                )
            return engine.driver(agent)

        return make

    # ------------------------------------------------------------------ running

    async def start(
        self,
        agent: Agent,
        *,
        run_id: str,
        initial_state: Any = None,
        max_steps: int | None = None,
        wait_s: float = 0.0,
        budget: Budget | None = None,
    ) -> RunResult:
        """Start a run and drive it until it ends, waits, fails or has used up its slice.

        A run of this id that was started with the same input is continued; one that has ended is returned as stored,
        with `was_stored`. For a loop, `initial_state` is a dict of its arguments, or the value of its only parameter.

        Args:
            max_steps: Pause after this many steps; None continues until done. Each child may run as many.
            wait_s: Seconds that this call may spend on timers (`Sleep`, the time-out of a `Wait`). One that is due
                later leaves the run `waiting`, for a later `resume` or a worker.
            budget: What the run and everything it starts may use.

        Raises:
            RunExists: The id is taken by a run of another agent or with another input.
            RunBusy: A live process drives the run.
            LeaseLost: Another process took the run over in between.
            StateEncodeError: The initial state is not of its type.
            StoreError: The database cannot be used.

        Durability: every step is committed before the next begins, and the run's last one before this returns.
        """
        check_run_id(run_id, "start")
        return await self.driver(agent).start(run_id, initial_state, Invocation(max_steps, wait_s), budget)

    async def enqueue(
        self, agent: Agent, *, run_id: str, initial_state: Any = None, budget: Budget | None = None
    ) -> RunResult:
        """Create a run with the status `created`, for a `Worker` of any process to drive.

        Arguments and errors are those of `start`.

        Durability: the run is committed when this returns.
        """
        check_run_id(run_id, "enqueue")
        return await self.driver(agent).enqueue(run_id, initial_state, budget)

    async def resume(
        self,
        agent: Agent,
        *,
        run_id: str,
        max_steps: int | None = None,
        wait_s: float = 0.0,
        budget: Budget | None = None,
    ) -> RunResult:
        """Continue a run.

        A paused, interrupted or failed run continues with the step that is not committed; a waiting one when what it
        waits for has come; one that has ended is returned as stored, with `was_stored`. Arguments and errors are
        those of `start`; the limits that `budget` sets replace those of the run. A child may be resumed by the agent
        of its parent.

        Raises:
            UnknownRun: There is no such run.
            UsageError: It is a run of another agent.
            StateDecodeError: The code at hand cannot read the stored state.
        """
        return await self.driver(agent).resume(run_id, Invocation(max_steps, wait_s), budget)

    def stop(self) -> None:
        """Let every run of this engine stop after its step. What was stopped is continued by `resume`."""
        self._is_stopping = True
        for driver in self.drivers():
            driver.stop()

    # ------------------------------------------------------------------ requests to runs

    async def signal(self, *, run_id: str, name: str, payload: Any = None) -> None:
        """Send a signal (plain JSON) to a run. `resume` then continues; a signal that comes early is kept.

        Raises:
            UsageError: The run has ended.
            UnknownRun: There is no such run.
        """
        await send_signal(self.store, run_id, name, payload, self.clock)

    async def cancel(self, *, run_id: str, by: str = "a person", note: str = "") -> Sequence[str]:
        """Cancel a run and its children. What has ended before stays as it is.

        A step that runs in this process is stopped at once.

        Returns:
            The ids of the runs that were cancelled.

        Raises:
            UnknownRun: There is no such run.
            IllegalMove: It has ended, or failed.
        """
        cancelled = await cancel_run(self.store, run_id, by=by, note=note, clock=self.clock)
        for driver in self.drivers():
            driver.stop_steps(cancelled)
        return cancelled

    async def pause(self, *, run_id: str) -> Sequence[str]:
        """Let a run, and its children, pause after the step that each is in; `resume` continues.

        Returns:
            The ids of the runs that will pause, or have paused.

        Raises:
            UnknownRun: There is no such run.
            IllegalMove: Neither it nor a child of it runs, or is about to.
        """
        return await pause_run(self.store, run_id, clock=self.clock)

    async def decide(
        self,
        *,
        run_id: str,
        number: int,
        how: DecisionKind,
        by: str,
        via: str = "",
        note: str = "",
        arguments: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Decide about a request for approval; see `decide_approval`."""
        decided = await decide_approval(
            self.store, run_id, number, how, by=by, via=via, note=note, arguments=arguments, clock=self.clock
        )
        return approval_view(decided)

    async def fork(self, *, run_id: str, step: int, new_run_id: str | None = None, patch: Any = None) -> str:
        """Create a run that begins after a committed step of another one; see `fork_run`.

        Returns:
            The id of the new run; `resume` drives it.
        """
        return await fork_run(self.store, run_id, step, new_run_id=new_run_id, patch=patch, clock=self.clock)

    async def resolve(
        self,
        *,
        run_id: str,
        call: int,
        how: Literal["retry", "skip", "result"],
        result: Any = None,
        decided_by: str = "a person",
    ) -> None:
        """Decide about a tool call in doubt; see `resolve_call`."""
        await resolve_call(self.store, run_id, call, how, result=result, decided_by=decided_by, clock=self.clock)

    # ------------------------------------------------------------------ questions

    async def get(self, run_id: str) -> dict[str, Any]:
        """Read a run."""
        return self.runs.get(run_id)

    async def list(self, *, limit: int = 100) -> Sequence[dict[str, Any]]:
        """Read runs, the latest changed first."""
        return self.runs.list(limit=limit)

    async def history(self, run_id: str, *, first: int = 0, limit: int = 1000) -> Sequence[dict[str, Any]]:
        """Read committed steps, each with the checkpoint after it."""
        return self.runs.history(run_id, first=first, limit=limit)

    async def attempts(self, run_id: str, *, first: int = 0, limit: int = 1000) -> Sequence[dict[str, Any]]:
        """Read every attempt of every step."""
        return self.runs.attempts(run_id, first=first, limit=limit)

    async def tool_calls(self, run_id: str) -> Sequence[dict[str, Any]]:
        """Read the tool calls of a run."""
        return self.runs.tool_calls(run_id)

    async def approvals(self, run_id: str | None = None, *, pending_only: bool = False) -> Sequence[dict[str, Any]]:
        """Read the requests for approval, of one run or of all."""
        return self.runs.approvals(run_id, pending_only=pending_only)

    # ------------------------------------------------------------------ small parts

    def drivers(self) -> Sequence[Driver]:
        """Return the drivers of this engine, and those of children of its runs that are in use; each once."""
        found = []  # type: ignore[var-annotated]
        for own in list(self._drivers.values()):
            found += [each for each in own.related_in_use() if all(each is not other for other in found)]
        return found
