"""The local engine: agents execute in this process, their runs are rows of a database."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final, Literal

from loom_runner._control.decide import decide_approval
from loom_runner._control.fork import fork_run
from loom_runner._control.lifecycle import cancel_run, pause_run
from loom_runner._control.resolve import resolve_call
from loom_runner._control.signals import send_signal
from loom_runner._driver.driver import Driver
from loom_runner._driver.settings import Invocation, Settings
from loom_runner._engines.find_agent import find_agent
from loom_runner._engines.observers import checked_observers
from loom_runner._model.arguments import check_limits, check_type
from loom_runner._model.clock import SystemClock
from loom_runner._model.events import Observers
from loom_runner._model.seconds import check_seconds
from loom_runner._program.agent import Agent
from loom_runner._queries.runs import Runs
from loom_runner._queries.verify import readable
from loom_runner._queries.views import approval_view
from loom_runner.errors import UsageError
from loom_runner.run_ids import check_new_run_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from loom_runner._control.authority import Authority
    from loom_runner._engines.protocol import Capability
    from loom_runner._model.approvals import DecisionKind
    from loom_runner._model.budget import Budget
    from loom_runner._model.clock import Clock
    from loom_runner._model.events import Observer
    from loom_runner._model.results import RunResult
    from loom_runner._model.seconds import Seconds
    from loom_runner._store.protocol import Store

__all__ = ["LocalEngine"]

_CAPABILITIES: Final[frozenset[Capability]] = frozenset(
    {"attempts", "budgets", "children", "fork", "pause", "retention", "state_versions", "timers"}
)


class LocalEngine:
    """Execute agents in this process, and keep their runs in a store.

    Args:
        store: Stores the runs, for instance `open_store("runs.sqlite")`.
        observers: Called with every `RunEvent`; one that raises is removed, and the run continues.
        clock: Time, waiting and random numbers.
        lease_s: Seconds (or a `timedelta`) for which a run stays reserved for a process that does
            not renew its lease.
        max_crashes: A run whose step has crashed its process this often is parked.
        module: The agent module as the user named it, for the commands in hints; may be set later.

    Raises:
        UsageError: An argument is not of its type, or a number is out of range.
    """

    def __init__(
        self,
        store: Store,
        *,
        observers: Sequence[Observer] = (),
        clock: Clock | None = None,
        lease_s: Seconds = 15.0,
        max_crashes: int = 10,
        module: str | None = None,
    ) -> None:
        verb = "create an engine"
        if not hasattr(store, "create_run"):
            raise UsageError(f'cannot {verb}: store is {store!r:.60}. Pass an open store: open_store("runs.sqlite").')
        check_type(verb, "max_crashes", max_crashes, int, "a whole number from 1 up")
        if max_crashes < 1:
            raise UsageError(f"cannot {verb}: max_crashes is {max_crashes}. Pass a whole number from 1 up.")
        self.store = store
        self.module = module
        self.runs = Runs(store, clock=clock)
        self.clock = clock or SystemClock()
        self.observers = Observers(checked_observers(verb, observers))
        self._lease_s = check_seconds(verb, "lease_s", lease_s, is_positive=True)
        self._max_crashes = max_crashes
        self._is_stopping = False
        self._drivers: dict[int, Driver] = {}
        self._made: dict[Callable[[], Any], Any] = {}

    @property
    def capabilities(self) -> frozenset[Capability]:
        """All optional features."""
        return _CAPABILITIES

    def driver(self, agent: Agent) -> Driver:
        """Return the driver of an agent's runs, the same one in every call."""
        check_type("use an agent", "agent", agent, Agent, "an Agent, for instance Agent(step=step)")
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
        """Return a function that creates the driver of a child's agent.

        `given` is an agent, a runner, or a function that returns one. A runner has its own engine,
        with its own observers and lease time, on the same store.
        """

        def make() -> Driver:
            child = given
            if not isinstance(given, Agent) and not hasattr(given, "engine"):
                if given not in self._made:  # one agent, however many others delegate to it
                    self._made[given] = given()
                child = self._made[given]
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
        wait_s: Seconds = 0.0,
        budget: Budget | None = None,
    ) -> RunResult:
        """Start a run and drive it until it ends, waits, fails or has run `max_steps` steps.

        A run of this id that was started with the same input is resumed; if it has ended, its
        stored result is returned, with `was_stored`. For a loop, `initial_state` is a dict of its
        arguments, or the value of its only parameter.

        Args:
            max_steps: Pause after this many steps; None is no limit. Each child may run as many.
            wait_s: Seconds (or a `timedelta`) that this call may wait for what the run waits for: a
                signal, a decision, child runs, a timer. It continues as soon as that has come, from
                this process or another one. A run whose timer is due later, or whose wait is not
                over in time, stays `waiting`, for a later `resume` or a worker.
            budget: Limits for the run and its descendants.

        Raises:
            UsageError: An argument is not of its type, or the id is not valid for a new run.
            RunExists: The id is taken by a run of another agent or with another input.
            RunBusy: A live process drives the run.
            LeaseLost: Another process took the run over.
            StateEncodeError: The initial state is not of its type.
            StoreError: The database cannot be used.

        Durability: Every step is committed before the next begins, and the last one before this
        returns.
        """
        check_new_run_id(run_id, "start")
        waits_s = check_limits(f"start {run_id!r}", max_steps, wait_s, budget)
        return await self.driver(agent).start(run_id, initial_state, Invocation(max_steps, waits_s), budget)

    async def enqueue(
        self, agent: Agent, *, run_id: str, initial_state: Any = None, budget: Budget | None = None
    ) -> RunResult:
        """Create a run with the status `created`, for a `Worker` of any process to drive.

        Arguments and errors are those of `start`.

        Durability: The run is committed when this returns.
        """
        check_new_run_id(run_id, "enqueue")
        check_limits(f"enqueue {run_id!r}", None, 0, budget)
        return await self.driver(agent).enqueue(run_id, initial_state, budget)

    async def resume(
        self,
        agent: Agent,
        *,
        run_id: str,
        max_steps: int | None = None,
        wait_s: Seconds = 0.0,
        budget: Budget | None = None,
    ) -> RunResult:
        """Continue a run.

        A paused, interrupted or failed run continues with the step that is not committed, a waiting
        run when its wait is over; if the run has ended, its stored result is returned, with
        `was_stored`. Arguments and errors are those of `start`; the limits that `budget` sets
        replace those of the run. A child may be resumed with the agent of its parent.

        Raises:
            UnknownRun: There is no such run.
            UsageError: It is a run of another agent.
            StateDecodeError: The current code cannot read the stored state.
        """
        waits_s = check_limits(f"resume {run_id!r}", max_steps, wait_s, budget)
        return await self.driver(agent).resume(run_id, Invocation(max_steps, waits_s), budget)

    def stop(self) -> None:
        """Stop every run of this engine after its current step; `resume` continues them."""
        self._is_stopping = True
        for driver in self.drivers():
            driver.stop()

    # ------------------------------------------------------------------ requests to runs

    async def signal(self, *, run_id: str, name: str, payload: Any = None) -> None:
        """Send a signal (plain JSON) to a run; `resume` continues the run. An early signal is kept.

        Raises:
            UsageError: The run has ended.
            UnknownRun: There is no such run.
        """
        await send_signal(self.store, run_id, name, payload, self.clock)

    async def cancel(self, *, run_id: str, by: str = "a person", note: str = "") -> Sequence[str]:
        """Cancel a run and its descendants, except those that have ended.

        A step that runs in this process is stopped at once.

        Returns:
            The ids of the cancelled runs.

        Raises:
            UnknownRun: There is no such run.
            IllegalMove: It has ended, or failed.
        """
        cancelled = await cancel_run(self.store, run_id, by=by, note=note, clock=self.clock)
        for driver in self.drivers():
            driver.stop_steps(cancelled)
        return cancelled

    async def pause(self, *, run_id: str) -> Sequence[str]:
        """Pause a run and its descendants, each after its current step; `resume` continues them.

        Returns:
            The ids of the runs that will pause, or have paused.

        Raises:
            UnknownRun: There is no such run.
            IllegalMove: None of them is running or created.
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
        shown: str | None = None,
        agent: Agent | None = None,
        authority: Authority | None = None,
    ) -> dict[str, Any]:
        """Decide about an approval request; see `decide_approval`.

        Args:
            shown: The `final_hash` that the person was shown; refused if it was edited since.
            agent: The agent of the run, or of its parent, by default one that this engine has
                driven; its tools check edited arguments. Without it they are not checked, and the
                call may fail when the run is resumed.

        Raises:
            ToolFailed: The edited arguments do not fit the tool (category `invalid_arguments`).
        """
        own = (
            await find_agent(self.store, self._related(agent), run_id, "decide a request of", agent)
            if arguments is not None
            else None
        )

        def check(name: str, edited: Mapping[str, Any]) -> None:
            if own is not None and name in own.tools:
                own.tools.get(name).check(edited)

        decided = await decide_approval(
            self.store,
            run_id,
            number,
            how,
            by=by,
            via=via,
            note=note,
            arguments=arguments,
            shown=shown,
            check=check,
            clock=self.clock,
            authority=authority,
        )
        return approval_view(decided)

    async def fork(
        self, *, run_id: str, step: int, new_run_id: str | None = None, patch: Any = None, agent: Agent | None = None
    ) -> str:
        """Create a run that begins after a committed step of another one; see `fork_run`.

        Args:
            agent: The agent of the run, or of its parent, by default one that this engine has
                driven; its types check the state. Without it the state is not checked, and a run
                with a wrong one cannot be resumed.

        Returns:
            The id of the new run; `resume` drives it.

        Raises:
            StateDecodeError: The patched state does not fit its type.
        """
        own = await find_agent(self.store, self._related(agent), run_id, "fork", agent)

        def check(text: str, version: int) -> None:
            if own is not None:
                readable(own.program, text, version, f"run {run_id!r} (step {step})")

        return await fork_run(
            self.store, run_id, step, new_run_id=new_run_id, patch=patch, check=check, clock=self.clock
        )

    def _related(self, agent: Agent | None) -> Iterable[Driver]:
        """Return the drivers of an agent and its children; without one, of all agents in use."""
        if agent is not None:
            return self.driver(agent).all_related()
        related = (each for own in list(self._drivers.values()) for each in own.all_related())
        return itertools.chain(self.drivers(), related)  # related ones are created if none in use fits

    async def resolve(
        self,
        *,
        run_id: str,
        call: int,
        how: Literal["retry", "skip", "result"],
        result: Any = None,
        decided_by: str = "a person",
        via: str = "",
        authority: Authority | None = None,
    ) -> None:
        """Decide about a tool call in doubt; see `resolve_call`."""
        store, clock = self.store, self.clock
        await resolve_call(
            store, run_id, call, how, result=result, decided_by=decided_by, via=via, authority=authority, clock=clock
        )

    # ------------------------------------------------------------------ questions

    async def get(self, run_id: str) -> dict[str, Any]:
        """Return a run."""
        return self.runs.get(run_id)

    async def list(self, *, limit: int = 100) -> Sequence[dict[str, Any]]:
        """Return runs, the most recently changed first."""
        return self.runs.list(limit=limit)

    async def history(self, run_id: str, *, first: int = 0, limit: int = 1000) -> Sequence[dict[str, Any]]:
        """Return committed steps, each with the checkpoint after it."""
        return self.runs.history(run_id, first=first, limit=limit)

    async def attempts(self, run_id: str, *, first: int = 0, limit: int = 1000) -> Sequence[dict[str, Any]]:
        """Return every attempt of every step."""
        return self.runs.attempts(run_id, first=first, limit=limit)

    async def tool_calls(self, run_id: str) -> Sequence[dict[str, Any]]:
        """Return the tool calls of a run."""
        return self.runs.tool_calls(run_id)

    async def approvals(self, run_id: str | None = None, *, pending_only: bool = False) -> Sequence[dict[str, Any]]:
        """Return the approval requests, of one run or of all."""
        return self.runs.approvals(run_id, pending_only=pending_only)

    # ------------------------------------------------------------------ small parts

    def drivers(self) -> Sequence[Driver]:
        """Return the drivers of this engine, and those of its child runs that are in use, each
        once.
        """
        related = (each for own in list(self._drivers.values()) for each in own.related_in_use())
        return tuple({id(each): each for each in related}.values())
