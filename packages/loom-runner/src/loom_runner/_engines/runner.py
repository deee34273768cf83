"""The short form: one agent on one store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from loom_runner._control.fork import fork_run
from loom_runner._engines.local import LocalEngine
from loom_runner._program.agent import Agent
from loom_runner._program.codec import UNHINTED
from loom_runner._queries.verify import readable, verify_run
from loom_runner._store.lookup import read_run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from loom_runner._driver.driver import Driver
    from loom_runner._model.approvals import DecisionKind
    from loom_runner._model.budget import Budget
    from loom_runner._model.clock import Clock
    from loom_runner._model.events import Observer
    from loom_runner._model.results import RunResult
    from loom_runner._model.retention import Keep
    from loom_runner._model.retry import RetryPolicy
    from loom_runner._program.gate import Gate
    from loom_runner._program.protocol import Program
    from loom_runner._program.state_versions import Upcaster
    from loom_runner._program.tools import ToolRegistry
    from loom_runner._queries.explain import Explanation
    from loom_runner._queries.runs import Runs
    from loom_runner._store.protocol import Store

__all__ = ["AgentRunner"]


class AgentRunner:
    """Run a step function, or a `@tailrec` loop, one durable step at a time.

    The short form of an `Agent` on a `LocalEngine`: `AgentRunner(step=step, store=store)`. The arguments are those of
    the two.

    Args:
        store: Where the rows are, for instance `SQLiteStore("runs.sqlite")`.
        children: The programs of child runs, by the names that `Child(program=...)` uses: agents, or runners on the
            same store, or functions that return one of these when it is first needed.

    Attributes:
        agent: The agent.
        engine: The engine.
        runs: Questions about the runs of the store.
    """

    def __init__(
        self,
        *,
        step: Callable[..., Any] | None = None,
        loop: Callable[..., Any] | None = None,
        store: Store,
        name: str | None = None,
        aliases: Sequence[str] = (),
        tools: ToolRegistry | None = None,
        state_type: Any = UNHINTED,
        result_type: Any = UNHINTED,
        retry: RetryPolicy | None = None,
        observers: Sequence[Observer] = (),
        clock: Clock | None = None,
        lease_s: float = 15.0,
        max_crashes: int = 10,
        gate: Gate | None = None,
        module: str | None = None,
        children: Mapping[str, Any] | None = None,
        step_timeout_s: float | None = None,
        keep: Keep | str | None = None,
        encode_state: Callable[[Any], Any] | None = None,
        decode_state: Callable[[Any], Any] | None = None,
        encode_result: Callable[[Any], Any] | None = None,
        decode_result: Callable[[Any], Any] | None = None,
        state_version: int = 1,
        upcasters: Mapping[int, Upcaster] | None = None,
    ) -> None:
        agent = Agent(
            name,
            step=step,
            loop=loop,
            aliases=aliases,
            tools=tools,
            state_type=state_type,
            result_type=result_type,
            retry=retry,
            gate=gate,
            children=children,
            step_timeout_s=step_timeout_s,
            keep=keep,
            encode_state=encode_state,
            decode_state=decode_state,
            encode_result=encode_result,
            decode_result=decode_result,
            state_version=state_version,
            upcasters=upcasters,
        )
        self._bind(
            agent,
            LocalEngine(
                store, observers=observers, clock=clock, lease_s=lease_s, max_crashes=max_crashes, module=module
            ),
        )

    @classmethod
    def of(cls, agent: Agent, engine: LocalEngine) -> AgentRunner:
        """Return the runner of an agent on an engine, for instance for a `Worker`."""
        runner = cls.__new__(cls)
        runner._bind(agent, engine)  # noqa: SLF001  (of this very class)
        return runner

    def _bind(self, agent: Agent, engine: LocalEngine) -> None:
        self.agent = agent
        self.engine = engine
        self.runs: Runs = engine.runs
        self._driver = engine.driver(agent)

    @property
    def store(self) -> Store:
        """Where the rows are."""
        return self.engine.store

    @property
    def program(self) -> Program:
        """What a run executes."""
        return self.agent.program

    @property
    def tools(self) -> ToolRegistry:
        """What `ctx.call_tool` finds by name."""
        return self.agent.tools

    @property
    def module(self) -> str | None:
        """The agent module as its caller named it, for hints that can be pasted."""
        return self.engine.module

    @module.setter
    def module(self, module: str | None) -> None:
        self.engine.module = module

    # ------------------------------------------------------------------ running

    async def start(
        self,
        *,
        run_id: str,
        initial_state: Any = None,
        max_steps: int | None = None,
        wait_s: float = 0.0,
        budget: Budget | None = None,
    ) -> RunResult:
        """Start a run and drive it until it ends, waits, fails or has used up its slice; see `LocalEngine.start`."""
        return await self.engine.start(
            self.agent, run_id=run_id, initial_state=initial_state, max_steps=max_steps, wait_s=wait_s, budget=budget
        )

    async def enqueue(self, *, run_id: str, initial_state: Any = None, budget: Budget | None = None) -> RunResult:
        """Create a run for a worker to drive; see `LocalEngine.enqueue`."""
        return await self.engine.enqueue(self.agent, run_id=run_id, initial_state=initial_state, budget=budget)

    async def resume(
        self, *, run_id: str, max_steps: int | None = None, wait_s: float = 0.0, budget: Budget | None = None
    ) -> RunResult:
        """Continue a run; see `LocalEngine.resume`."""
        return await self.engine.resume(self.agent, run_id=run_id, max_steps=max_steps, wait_s=wait_s, budget=budget)

    def drain(self) -> None:
        """Let every run that this runner drives stop after its step, because the process is about to end.

        Each is left `paused`, marked as interrupted, so that a worker elsewhere takes it up. Not undone: a runner
        that is drained runs one step per call.
        """
        for driver in self._driver.related_in_use():
            driver.stop()

    def drivers(self) -> Sequence[Driver]:
        """Return what drives this runner's runs and those of its children, for a `Worker`.

        Raises:
            UsageError: Two of their agents have one name.
        """
        return self._driver.all_related()

    # ------------------------------------------------------------------ requests to runs

    async def cancel(self, *, run_id: str, by: str = "a person", note: str = "") -> Sequence[str]:
        """Cancel a run and its children; see `LocalEngine.cancel`."""
        return await self.engine.cancel(run_id=run_id, by=by, note=note)

    async def pause(self, *, run_id: str) -> Sequence[str]:
        """Let a run, and its children, pause after the step that each is in; see `LocalEngine.pause`."""
        return await self.engine.pause(run_id=run_id)

    async def signal(self, *, run_id: str, name: str, payload: Any = None) -> None:
        """Send a signal (plain JSON) to a run; see `LocalEngine.signal`."""
        await self.engine.signal(run_id=run_id, name=name, payload=payload)

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
        await self.engine.resolve(run_id=run_id, call=call, how=how, result=result, decided_by=decided_by)

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
        """Decide about a request for approval; see `decide_approval`. Edited arguments are checked by the tool's hints.

        Raises:
            ToolFailed: The edited arguments do not fit the tool (category `invalid_arguments`).
        """
        if arguments is not None:
            for row in await self.store.approvals(run_id):
                if row.number == number and row.name in self.tools:
                    self.tools.get(row.name).check(arguments)
        return await self.engine.decide(
            run_id=run_id, number=number, how=how, by=by, via=via, note=note, arguments=arguments
        )

    async def fork(self, *, run_id: str, step: int, new_run_id: str | None = None, patch: Any = None) -> str:
        """Make a new run that begins after a committed step; see `fork_run`. The state has to fit its type.

        Raises:
            StateDecodeError: The patched state does not.
        """
        return await fork_run(
            self.store,
            run_id,
            step,
            new_run_id=new_run_id,
            patch=patch,
            check=lambda text, version: readable(self.program, text, version, f"run {run_id!r} (step {step})"),
            clock=self.engine.clock,
        )

    # ------------------------------------------------------------------ observing

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Listen to events from now on; call what is returned to stop."""
        return self.engine.observers.add(observer)

    def tracing(self, run_id: str, path: str | Path) -> AbstractContextManager[None]:
        """Record the block, in which the run is driven, and write its page at the end, also after an error.

        The page shows every process that ever drove the run, and inside its steps what this process's code traced.

        Raises:
            UsageError: The page cannot be written there.
        """
        from loom_runner._queries.tracing import tracing

        return tracing(self.observe, self.store.reader, run_id, path)

    def write_trace(self, run_id: str, path: str | Path) -> None:
        """Write a run's page from its rows.

        Raises:
            UnknownRun: There is no such run.
            UsageError: The page cannot be written there.
        """
        self.runs.write_trace(run_id, path)

    # ------------------------------------------------------------------ questions

    def get(self, run_id: str) -> dict[str, Any]:
        """Read a run: status, step index, state, result, error and what it waits for, as plain JSON."""
        return self.runs.get(run_id)

    def list(self, *, limit: int = 100) -> Sequence[dict[str, Any]]:
        """Read the runs of the database, the latest changed first."""
        return self.runs.list(limit=limit)

    def history(self, run_id: str, *, first: int = 0, limit: int = 1000) -> Sequence[dict[str, Any]]:
        """Read committed steps, each with the checkpoint after it."""
        return self.runs.history(run_id, first=first, limit=limit)

    def attempts(self, run_id: str, *, first: int = 0, limit: int = 1000) -> Sequence[dict[str, Any]]:
        """Read every attempt of every step: those that failed or disappeared, and those that committed."""
        return self.runs.attempts(run_id, first=first, limit=limit)

    def tool_calls(self, run_id: str) -> Sequence[dict[str, Any]]:
        """Read the tool calls of a run."""
        return self.runs.tool_calls(run_id)

    def doubts(self, run_id: str | None = None) -> Sequence[dict[str, Any]]:
        """Read the tool calls that started and have no recorded end, of one run or of all."""
        return self.runs.doubts(run_id)

    def approvals(self, run_id: str | None = None, *, pending_only: bool = False) -> Sequence[dict[str, Any]]:
        """Read the requests for approval, of one run or of all."""
        return self.runs.approvals(run_id, pending_only=pending_only)

    def children(self, run_id: str) -> Sequence[dict[str, Any]]:
        """Read the runs that a run has started."""
        return self.runs.children(run_id)

    def stats(self) -> dict[str, Any]:
        """Count runs, tool calls and approvals by status."""
        return self.runs.stats()

    def explain_run(self, run_id: str) -> Explanation:
        """Explain what happened to a run; `str()` of it is the text, `.data` the facts."""
        return self.runs.explain(run_id)

    def verify_run(self, run_id: str) -> dict[str, Any]:
        """Check that the code at hand can read a run: its state, its result, and every checkpoint that is kept.

        What is in the file is checked by `loom-runner verify`; this checks that it still fits the code's types.

        Returns:
            `ok`, `checked` (the number of states), and `problems`, each with a `step_index` (None: the run's row).
        """
        reader = self.store.reader
        return verify_run(reader, self.program, read_run(reader, run_id, "verify"))

    def close(self) -> None:
        """Close the store."""
        self.store.close()
