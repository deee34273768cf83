"""The short form: one agent on one store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from loom_runner._engines.local import LocalEngine
from loom_runner._model.arguments import check_type
from loom_runner._program.agent import Agent
from loom_runner._program.codec import UNHINTED
from loom_runner._queries.verify import verify_run
from loom_runner._store.lookup import read_run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from os import PathLike
    from pathlib import Path

    from loom_runner._driver.driver import Driver
    from loom_runner._model.approvals import DecisionKind
    from loom_runner._model.budget import Budget
    from loom_runner._model.clock import Clock
    from loom_runner._model.events import Observer
    from loom_runner._model.results import RunResult
    from loom_runner._model.retention import Keep
    from loom_runner._model.retry import RetryPolicy
    from loom_runner._model.seconds import Seconds
    from loom_runner._model.writes import VerifyApproval
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

    The short form of an `Agent` on a `LocalEngine`: `AgentRunner(step=step, store=store)`. It takes
    the arguments of both.

    Args:
        store: Stores the runs, for instance `SQLiteStore("runs.sqlite")`.
        children: The programs of child runs, by the names that `Child(program=...)` uses: agents,
            or runners on the same store, or functions that return one of these when it is first
            needed.

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
        lease_s: Seconds = 15.0,
        max_crashes: int = 10,
        gate: Gate | None = None,
        verify_approval: VerifyApproval | None = None,
        module: str | None = None,
        children: Mapping[str, Any] | None = None,
        step_timeout_s: Seconds | None = None,
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
            verify_approval=verify_approval,
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
        check_type(
            "create a runner", "engine", engine, LocalEngine, 'an engine: LocalEngine(open_store("runs.sqlite"))'
        )
        runner = cls.__new__(cls)
        runner._bind(agent, engine)  # noqa: SLF001  (the same class)
        return runner

    def _bind(self, agent: Agent, engine: LocalEngine) -> None:
        self.agent = agent
        self.engine = engine
        self.runs: Runs = engine.runs
        self._driver = engine.driver(agent)

    @property
    def store(self) -> Store:
        """The store of the runs."""
        return self.engine.store

    @property
    def program(self) -> Program:
        """The program that a run executes."""
        return self.agent.program

    @property
    def tools(self) -> ToolRegistry:
        """The tools that `ctx.call_tool` finds by name."""
        return self.agent.tools

    @property
    def module(self) -> str | None:
        """The agent module as the user named it, for the commands in hints."""
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
        wait_s: Seconds = 0.0,
        budget: Budget | None = None,
    ) -> RunResult:
        """Start a run and drive it until it ends, waits, fails or has run `max_steps` steps; see
        `LocalEngine.start`."""
        return await self.engine.start(
            self.agent, run_id=run_id, initial_state=initial_state, max_steps=max_steps, wait_s=wait_s, budget=budget
        )

    async def enqueue(self, *, run_id: str, initial_state: Any = None, budget: Budget | None = None) -> RunResult:
        """Create a run for a worker to drive; see `LocalEngine.enqueue`."""
        return await self.engine.enqueue(self.agent, run_id=run_id, initial_state=initial_state, budget=budget)

    async def resume(
        self, *, run_id: str, max_steps: int | None = None, wait_s: Seconds = 0.0, budget: Budget | None = None
    ) -> RunResult:
        """Continue a run; see `LocalEngine.resume`."""
        return await self.engine.resume(self.agent, run_id=run_id, max_steps=max_steps, wait_s=wait_s, budget=budget)

    def drain(self) -> None:
        """Stop every run that this runner drives after its current step, because the process is
        about to end.

        Each becomes `paused` and is marked as interrupted, so that another worker resumes it.
        Draining is permanent: a drained runner runs one step per call.
        """
        for driver in self._driver.related_in_use():
            driver.stop()

    def drivers(self) -> Sequence[Driver]:
        """Return the drivers of this runner's runs and those of its children, for a `Worker`.

        Raises:
            UsageError: Two of their agents have the same name.
        """
        return self._driver.all_related()

    # ------------------------------------------------------------------ requests to runs

    async def cancel(self, *, run_id: str, by: str = "a person", note: str = "") -> Sequence[str]:
        """Cancel a run and its children; see `LocalEngine.cancel`."""
        return await self.engine.cancel(run_id=run_id, by=by, note=note)

    async def pause(self, *, run_id: str) -> Sequence[str]:
        """Pause a run and its children, each after its current step; see `LocalEngine.pause`."""
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
        shown: str | None = None,
    ) -> dict[str, Any]:
        """Decide about an approval request; see `LocalEngine.decide`."""
        return await self.engine.decide(
            run_id=run_id, number=number, how=how, by=by, via=via, note=note, arguments=arguments, shown=shown
        )

    async def fork(self, *, run_id: str, step: int, new_run_id: str | None = None, patch: Any = None) -> str:
        """Create a run that begins after a committed step; see `LocalEngine.fork`."""
        return await self.engine.fork(run_id=run_id, step=step, new_run_id=new_run_id, patch=patch, agent=self.agent)

    # ------------------------------------------------------------------ observing

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Add an observer; the returned function removes it."""
        return self.engine.observers.add(observer)

    def tracing(self, run_id: str, path: str | Path) -> AbstractContextManager[None]:
        """Record a block that drives the run, and write its trace page at the end, also after an
        error.

        The page shows every process that ever drove the run, and inside its steps the spans that
        this process traced.

        Raises:
            UsageError: The page cannot be written.
        """
        from loom_runner._queries.tracing import tracing

        return tracing(self.observe, self.store.reader, run_id, path)

    def write_trace(self, run_id: str, path: str | Path) -> None:
        """Write a run's trace page from its rows.

        Raises:
            UnknownRun: There is no such run.
            UsageError: The page cannot be written.
        """
        self.runs.write_trace(run_id, path)

    # ------------------------------------------------------------------ questions

    def get(self, run_id: str) -> dict[str, Any]:
        """Return a run: status, step index, state, result, error and wait, as plain JSON."""
        return self.runs.get(run_id)

    def list(
        self,
        *,
        limit: int = 100,
        status: str | Sequence[str] | None = None,
        agent: str | None = None,
        prefix: str | None = None,
        text: str | None = None,
        after: str | None = None,
    ) -> Sequence[dict[str, Any]]:
        """Return runs of the database, the most recently changed first; see `Runs.list`."""
        return self.runs.list(limit=limit, status=status, agent=agent, prefix=prefix, text=text, after=after)

    def history(self, run_id: str, *, first: int = 0, limit: int = 1000) -> Sequence[dict[str, Any]]:
        """Return committed steps, each with the checkpoint after it."""
        return self.runs.history(run_id, first=first, limit=limit)

    def attempts(self, run_id: str, *, first: int = 0, limit: int = 1000) -> Sequence[dict[str, Any]]:
        """Return every attempt of every step: failed, interrupted and committed ones."""
        return self.runs.attempts(run_id, first=first, limit=limit)

    def tool_calls(self, run_id: str) -> Sequence[dict[str, Any]]:
        """Return the tool calls of a run."""
        return self.runs.tool_calls(run_id)

    def doubts(self, run_id: str | None = None) -> Sequence[dict[str, Any]]:
        """Return the tool calls in doubt (started, without a recorded end), of one run or of
        all.
        """
        return self.runs.doubts(run_id)

    def approvals(self, run_id: str | None = None, *, pending_only: bool = False) -> Sequence[dict[str, Any]]:
        """Return the approval requests, of one run or of all."""
        return self.runs.approvals(run_id, pending_only=pending_only)

    def children(self, run_id: str) -> Sequence[dict[str, Any]]:
        """Return the child runs of a run."""
        return self.runs.children(run_id)

    def stats(self) -> dict[str, Any]:
        """Count runs, tool calls and approvals by status."""
        return self.runs.stats()

    def query(
        self,
        sql: str,
        parameters: Sequence[Any] | Mapping[str, Any] = (),
        *,
        limit: int = 10_000,
        timeout_s: float = 30.0,
    ) -> Sequence[dict[str, Any]]:
        """Return the rows of a reading SQL statement; see `Runs.query`."""
        return self.runs.query(sql, parameters, limit=limit, timeout_s=timeout_s)

    def backup(self, path: str | PathLike[str]) -> int:
        """Write a copy of the database to a new file, and return its size in bytes; see
        `Runs.backup`.
        """
        return self.runs.backup(path)

    def explain_run(self, run_id: str) -> Explanation:
        """Explain what happened to a run; `str()` of it is the text, `.data` the facts."""
        return self.runs.explain(run_id)

    def verify_run(self, run_id: str) -> dict[str, Any]:
        """Check that the current code can read a run: its state, its result, and every checkpoint
        that is kept.

        `loom-runner verify` checks the file; this checks that the stored values still fit the
        code's types.

        Returns:
            `ok`, `checked` (the number of states), and `problems`, each with a `step_index` (None:
            the run's row).
        """
        reader = self.store.reader
        return verify_run(reader, self.program, read_run(reader, run_id, "verify"))

    def close(self) -> None:
        """Close the store."""
        self.store.close()
