"""The public face: one program, one store, and what may be asked of its runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from loom_runner._control.answers import resolve_call, send_signal
from loom_runner._control.decide import decide_approval
from loom_runner._control.requests import cancel_run, fork_run, pause_run, read_children, read_stats
from loom_runner._driver.children import lazily
from loom_runner._driver.cursor import Settings, Visit
from loom_runner._driver.driver import Driver
from loom_runner._model.clock import Clock, SystemClock
from loom_runner._model.events import Observer, Observers
from loom_runner._model.retention import Keep, parse_keep
from loom_runner._model.retry import RetryPolicy
from loom_runner._program.codec import UNHINTED
from loom_runner._program.custom_codec import ByHand
from loom_runner._program.program import LoopProgram, Program, StepProgram
from loom_runner._program.tools import ToolRegistry
from loom_runner._program.versions import Versions
from loom_runner._queries.approvals import read_approvals
from loom_runner._queries.explain import Explanation, explain
from loom_runner._queries.verify import readable, verify_run
from loom_runner._queries.views import approval_view, attempt_views, run_view, step_view, tool_view
from loom_runner._store.doubts import read_tool_calls
from loom_runner._store.lookup import check_run_id, find_run
from loom_runner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from loom_runner._model.budget import Budget
    from loom_runner._model.records import RunRecord
    from loom_runner._model.result import RunResult
    from loom_runner._program.gate import Gate
    from loom_runner._program.versions import Upcaster
    from loom_runner._store.protocol import Store

__all__ = ["AgentRunner", "resolve_call", "send_signal"]


class AgentRunner:
    """Run a step function, or a `@tailrec` loop, one durable step at a time.

    Args:
        step: `async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[Result]`. The types of
            state and
            result are read from its hints; without hints they are plain JSON. A sync step runs on a thread.
        loop: A `@tailrec` function instead; every tail call is a step, its arguments are the state.
        store: Where the rows are, for instance `SQLiteStore("runs.sqlite")`.
        tools: What `ctx.call_tool` finds by name.
        state_type: The state's type, when the hints do not say it.
        result_type: The result's type, likewise.
        retry: When a failed step is tried again.
        observers: Called with every `RunEvent`; one that raises is dropped and never breaks a run.
        clock: Time, waiting and chance.
        lease_s: How long a run stays reserved for a process that gives no sign of life.
        max_crashes: A step that took its process down this often is parked.
        gate: Decides which tool calls may run, fail, or wait for a person; see `Gate`. Without it, tools declared
            `needs_approval` wait, and all others run.
        module: The agent module as its caller named it, for hints that can be pasted; may be set later.
        children: The programs of child runs, by the names that `Child(program=...)` uses: runners on the same store,
            or functions that make one when it is first needed.
        step_timeout_s: Seconds after which a step is stopped; that is a failed attempt, and may be tried again.
        keep: How much of a run's history stays: `all`, `latest`, `last:N` or `every:K`; None is the store's choice.
        encode_state: Writes a state as plain JSON, where its hint is not enough; with `decode_state`. So for results.
        state_version: The version of the state that this code writes, from 1.
        upcasters: For each older version, a function that turns its stored JSON into that of the next version.
    """

    def __init__(
        self,
        *,
        step: Callable[..., Any] | None = None,
        loop: Callable[..., Any] | None = None,
        store: Store,
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
        children: Mapping[str, AgentRunner | Callable[[], AgentRunner]] | None = None,
        step_timeout_s: float | None = None,
        keep: Keep | str | None = None,
        encode_state: Callable[[Any], Any] | None = None,
        decode_state: Callable[[Any], Any] | None = None,
        encode_result: Callable[[Any], Any] | None = None,
        decode_result: Callable[[Any], Any] | None = None,
        state_version: int = 1,
        upcasters: Mapping[int, Upcaster] | None = None,
    ) -> None:
        if (step is None) == (loop is None):
            raise UsageError("cannot make a runner: give it either step= or loop=.")
        if not lease_s > 0 or max_crashes < 1 or not (step_timeout_s is None or step_timeout_s > 0):
            raise UsageError(
                "cannot make a runner: lease_s and step_timeout_s are above 0 and max_crashes is at least 1."
            )
        self.store = store
        self.module = module
        self.tools = ToolRegistry() if tools is None else tools
        by_hand = ByHand(encode_state, decode_state, encode_result, decode_result)
        versions = Versions(state_version, dict(upcasters or {}))
        self.program: Program
        if step is not None:
            self.program = StepProgram(step, state_type, result_type, versions=versions, by_hand=by_hand)
        elif loop is not None:
            if state_type is not UNHINTED or encode_state is not None or decode_state is not None:
                raise UsageError(
                    "cannot use state_type or encode_state with loop=: hint the loop's parameters instead."
                )
            self.program = LoopProgram(loop, result_type, versions=versions, by_hand=by_hand)
        self._clock = clock or SystemClock()
        self._observers = Observers(tuple(observers))
        self._driver = Driver(
            Settings(
                self.program,
                store,
                tools=self.tools,
                retry=retry or RetryPolicy(),
                observers=self._observers,
                clock=self._clock,
                lease_s=lease_s,
                max_crashes=max_crashes,
                gate=gate,
                module=lambda: self.module,
                children=lazily(children or {}, self._driver_of),
                step_timeout_s=step_timeout_s,
                keep=parse_keep(keep) if isinstance(keep, str) else keep,
            )
        )

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
        """Start a run and drive it until it ends, waits, fails or has used up its slice.

        A run of this id that was started with the same input is gone on with; one that has ended is given back as
        stored, with `was_stored`. For a loop, `initial_state` is a dict of its arguments, or the value of its only
        parameter.

        Args:
            max_steps: Pause after this many steps; None goes on until done. Each child may make as many.
            wait_s: Seconds that this call may spend on timers (`Sleep`, the time-out of a `Wait`). One that is due
                later leaves the run `waiting`, for a later `resume` or a worker.
            budget: What the run and everything it starts may use.

        Raises:
            RunExists: The id is taken by a run with another input.
            RunBusy: A live process works on the run.
            LeaseLost: Another process took the run over in between.
            StateEncodeError: The initial state is not of its type.
            StoreError: The database cannot be used.

        Durability: every step is committed before the next begins, and the run's last one before this returns.
        """
        check_run_id(run_id, "start")
        return await self._driver.start(run_id, initial_state, Visit(max_steps, wait_s), budget)

    async def resume(
        self, *, run_id: str, max_steps: int | None = None, wait_s: float = 0.0, budget: Budget | None = None
    ) -> RunResult:
        """Go on with a run where it stands.

        A paused, interrupted or failed run goes on with the step that is not committed; a waiting one when what it
        waits for has come; one that has ended is given back as stored, with `was_stored`. Arguments and errors are
        those of `start`; the limits that `budget` sets replace those of the run. A child may be resumed by its
        parent's runner.

        Raises:
            UnknownRun: There is no such run.
            StateDecodeError: The code at hand cannot read the stored state.
        """
        return await self._driver.resume(run_id, Visit(max_steps, wait_s), budget)

    async def cancel(self, *, run_id: str, by: str = "a person", note: str = "") -> Sequence[str]:
        """Cancel a run and its children; see `cancel_run`. A step that runs in this process is stopped at once."""
        cancelled = await cancel_run(self.store, run_id, by=by, note=note, clock=self._clock)
        for driver in self._driver.with_family():
            driver.let_go(cancelled)
        return cancelled

    async def pause(self, *, run_id: str) -> Sequence[str]:
        """Let a run, and its children, pause after the step that each is in; see `pause_run`."""
        return await pause_run(self.store, run_id, clock=self._clock)

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
            clock=self._clock,
        )

    def drain(self) -> None:
        """Let every run that this runner drives stop after its step, because the process is about to end.

        Each is left `paused`, marked as interrupted, so that a worker elsewhere takes it up. Not undone: a runner
        that is drained makes one step per call.
        """
        for driver in self._driver.with_family():
            driver.stop()

    def drivers(self) -> Sequence[Driver]:
        """What drives this runner's runs and those of its children, for a `Worker`."""
        return self._driver.whole_family()

    async def signal(self, *, run_id: str, name: str, payload: Any = None) -> None:
        """Leave a signal (plain JSON) for a run. `resume` then goes on; a signal that comes early is kept.

        Raises:
            UsageError: The run has ended.
            UnknownRun: There is no such run.
        """
        await send_signal(self.store, run_id, name, payload, self._clock)

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
        await resolve_call(self.store, run_id, call, how, result=result, decided_by=decided_by, clock=self._clock)

    async def decide(
        self,
        *,
        run_id: str,
        number: int,
        how: Literal["approve", "deny", "edit"],
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
            for row in self.store.approvals(run_id):
                if row.number == number and row.name in self.tools:
                    self.tools.get(row.name).check(arguments)
        decided = await decide_approval(
            self.store,
            run_id,
            number,
            how,
            by=by,
            via=via,
            note=note,
            arguments=arguments,
            clock=self._clock,
        )
        return approval_view(decided)

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Listen to events from now on; call what is returned to stop."""
        return self._observers.add(observer)

    def tracing(self, run_id: str, path: str | Path) -> AbstractContextManager[None]:
        """Record the block, in which the run is driven, and write its page at the end, also after an error.

        The page shows every process that ever worked on the run, and inside its steps what this process's code
        traced.

        Raises:
            UsageError: The page cannot be written there.
        """
        from loom_runner._queries.tracing import tracing

        return tracing(self.observe, self.store, run_id, path)

    def write_trace(self, run_id: str, path: str | Path) -> None:
        """Write a run's page from its rows.

        Raises:
            UnknownRun: There is no such run.
            UsageError: The page cannot be written there.
        """
        from loom_runner._queries.tracing import write_trace

        write_trace(self.store, run_id, path)

    # ------------------------------------------------------------------ asking

    def get(self, run_id: str) -> dict[str, Any]:
        """Read a run: status, step index, state, result, error and what it waits for, as plain JSON."""
        return run_view(self._record(run_id, "get"))

    def list(self, *, limit: int = 100) -> list[dict[str, Any]]:
        """Read the runs of the database, the latest changed first."""
        return [run_view(record) for record in self.store.list_runs(limit=limit)]

    def history(self, run_id: str, *, first: int = 0, limit: int = 1000) -> Sequence[dict[str, Any]]:
        """Read committed steps, each with the checkpoint after it."""
        self._record(run_id, "show the history of")
        return [step_view(step) for step in self.store.steps(run_id, first=first, limit=limit)]

    def attempts(self, run_id: str, *, first: int = 0, limit: int = 1000) -> Sequence[dict[str, Any]]:
        """Read every try of every step: those that failed or disappeared, and those that committed."""
        return attempt_views(self.store, self._record(run_id, "show the attempts of"), first=first, limit=limit)

    def tool_calls(self, run_id: str) -> Sequence[dict[str, Any]]:
        """Read the tool ledger of a run."""
        self._record(run_id, "show the tool calls of")
        return [tool_view(call) for call in read_tool_calls(self.store, run_id)]

    def doubts(self, run_id: str | None = None) -> Sequence[dict[str, Any]]:
        """Read the tool calls that started and have no recorded end, of one run or of all."""
        return [tool_view(call) for call in read_tool_calls(self.store, run_id, in_doubt=True)]

    def approvals(self, run_id: str | None = None, *, pending_only: bool = False) -> Sequence[dict[str, Any]]:
        """Read the requests for approval, of one run or of all."""
        found = read_approvals(self.store, run_id, pending_only=pending_only, clock=self._clock)
        return [approval_view(approval) for approval in found]

    def children(self, run_id: str) -> Sequence[dict[str, Any]]:
        """Read the runs that a run has started."""
        return [run_view(record) for record in read_children(self.store, run_id)]

    def stats(self) -> dict[str, Any]:
        """Count runs, tool calls and approvals by status."""
        return read_stats(self.store)

    def verify_run(self, run_id: str) -> dict[str, Any]:
        """Check that the code at hand can read a run: its state, its result, and every checkpoint that is kept.

        What is in the file is checked by `loom-runner verify`; this checks that it still fits the code's types.

        Returns:
            `ok`, `checked` (the number of states), and `problems`, each with a `step_index` (None: the run's row).
        """
        return verify_run(self.store, self.program, self._record(run_id, "verify"))

    def explain_run(self, run_id: str) -> Explanation:
        """Tell what happened to a run; `str()` of it is the text, `.data` the facts."""
        return explain(self.store, run_id)

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def _driver_of(self, given: Any) -> Driver:
        """Find the driver of a child's program, which is a runner or a function that makes one."""
        runner = given if isinstance(given, AgentRunner) else given()
        if not isinstance(runner, AgentRunner) or runner.store is not self.store:
            raise UsageError("cannot start a child: its program is no AgentRunner on the store of its parent.")
        return runner._driver  # noqa: SLF001  (of this very class)

    def _record(self, run_id: str, verb: str) -> RunRecord:
        return find_run(self.store, run_id, verb)
