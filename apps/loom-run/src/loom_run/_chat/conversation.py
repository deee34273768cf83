"""Start a conversation, and continue one."""

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from loom_agents import (
    INPUT_SIGNAL,
    MESSAGE_SIGNAL,
    AgentProfile,
    AgentState,
    build_agent,
    message_text,
)
from loom_agents.cli import Request
from loom_agents.redaction import redact_text
from loom_runner import (
    Agent,
    AgentRunner,
    Budget,
    LocalEngine,
    RunEvent,
    RunnerError,
    RunResult,
    Runs,
    SQLiteStore,
    ToolRegistry,
    UnknownRun,
)

from loom_run._chat.approvals import approval_requests
from loom_run._chat.turn import ChatStatus, RunStatus, Turn, chat_state, chat_status
from loom_run._chat.undo import open_change_log
from loom_run._config.mcp_servers import mcp_servers
from loom_run._config.recorded_setups import given_setup, record_setup
from loom_run._config.setup import Setup
from loom_run._config.setup_change import SetupChange
from loom_run._errors import LoomRunError

PROGRAM: Final = "loom-run/chat"
"""The name of the agent in the rows of its runs; a delegated task has this name and that of its
agent.
"""

Limits: TypeAlias = dict[str, Any]
"""Limits of a command: max_tokens, max_cost_usd, max_requests (in one turn), time_s; those that are
given.
"""


class Listener(Protocol):
    """Receive what happens in a run. `Progress` shows it at a terminal; `serve` passes it on."""

    def __call__(self, event: RunEvent) -> None:
        """Take one event of the runner."""
        ...

    def note(self, text: str) -> None:
        """Take a notice that is not an event of the run, such as an MCP server that cannot be
        used.
        """
        ...


@dataclass(slots=True)
class RunOptions:
    """Hold how one command or request drives a conversation.

    Args:
        listener: receives what happens.
        max_steps: pause after this many steps.
        trace: where to write the trace of the run as an HTML page; None for no page.
        record: a script file to write the model's replies to.
        trace_error: set afterwards: why the page could not be written although the run did its
            work.
    """

    listener: Listener
    max_steps: int | None = None
    trace: Path | None = None
    record: Path | None = None
    trace_error: str | None = None

    @contextmanager
    def tracing(self, runner: AgentRunner, run_id: str) -> Iterator[None]:
        """Record what happens in the block, if a trace was requested.

        A page that cannot be written at the end does not lose the answer: the reason goes to
        `trace_error`.
        """
        if self.trace is None:
            yield
            return
        has_worked = False
        try:
            with runner.tracing(run_id, str(self.trace)):
                yield
                has_worked = True
        except (RunnerError, OSError) as exc:
            if not has_worked:
                raise
            self.trace_error = " ".join(str(exc).split())


class Conversation:
    """One run of a store, seen as a conversation."""

    def __init__(self, store: SQLiteStore, run_id: str) -> None:
        self.store = store
        self.run_id = run_id
        self._runs = Runs(store)

    def tools(self) -> ToolRegistry:
        """Build the tools that the run has."""
        return self.setup_after(SetupChange(), self.read().state.setup, quiet=True).tools(Path(self.store.address))

    def setup_after(self, change: SetupChange, stored: Mapping[str, Any], *, quiet: bool = False) -> Setup:
        """Return the stored setup of the run with the options of a command line applied.

        What could start a program comes from the command line and the settings, unless the user
        gave it to this run before (see `given_setup`).
        """
        database_id, settings, trust = self.store.reader.database_id, change.settings, change.trust
        given = given_setup(database_id, stored, settings, trust, named=change.named, quiet=quiet)
        return change.applied_to(given)

    def exists(self) -> bool:
        """Return whether the run exists."""
        return self._runs.find(self.run_id) is not None

    def read(self) -> Turn:
        """Read the conversation as it is now.

        Raises:
            UnknownRun: There is no such run.
            LoomRunError: The run is not a chat of `loom-run`.
        """
        run = self._runs.find(self.run_id)
        if run is None:
            where = self.store.description
            raise UnknownRun(
                f"cannot find {self.run_id!r}: there is no such run in {where}. See loom-run runs.", run_id=self.run_id
            )
        state = chat_state(self.run_id, run["state"])
        status, pending, error = self._status(run["status"], run["wait"], run["error"])
        return Turn(
            self.run_id,
            status,
            run["step_index"],
            state,
            was_stored=True,
            error=error,
            wait=run["wait"],
            pending=pending,
        )

    async def start(self, message: str, setup: Setup, limits: Limits, options: RunOptions) -> Turn:
        """Start the run with the user's first message; secrets in it are masked."""
        message = redact_text(message)
        setup = _with_max_requests(setup, limits)
        record_setup(self.store.reader.database_id, setup.to_json())
        state = AgentState(setup=setup.to_json()).with_user(message).to_json()
        budget = _budget(limits, setup.max_requests)
        async with self._runner(setup, options) as runner:
            with options.tracing(runner, self.run_id):
                result = await runner.start(
                    run_id=self.run_id, initial_state=state, max_steps=options.max_steps, budget=budget
                )
        return self._turn(result)

    async def send(
        self, message: str, change: SetupChange, limits: Limits, options: RunOptions, *, repeat: bool = False
    ) -> Turn:
        """Send another message, or the same one again.

        A message equal to the last one resumes its turn, or returns the stored answer. Another one
        opens the next turn when the last is answered; so does an equal one with `repeat`, from a
        person who types it again.

        Raises:
            LoomRunError: The last message has no answer yet, and this message differs from it.
        """
        message = redact_text(message)
        before = self.read()
        unread = self._unread_message()
        last = before.state.last_user_text if unread is None else unread
        is_answered = before.status == "answered" and unread is None
        if message == last and not is_answered:
            return await self.resume(change, limits, options)
        if message == last and not repeat:
            return before
        if before.status == "question" and not self.store.reader.signals(self.run_id, name=INPUT_SIGNAL):
            sent = (INPUT_SIGNAL, {"text": message})
            return await self._resume(before, change, limits, options, sent=sent)
        if not is_answered:
            raise LoomRunError(
                f"cannot send a new message to {self.run_id!r}: the last one has no answer yet (the run is"
                f" {before.status}). Finish it first: loom-run resume {self.run_id}. Or choose another --run-id.",
                run_id=self.run_id,
            )
        return await self._resume(before, change, limits, options, sent=(MESSAGE_SIGNAL, {"text": message}))

    async def resume(self, change: SetupChange, limits: Limits, options: RunOptions) -> Turn:
        """Resume the run; do nothing when the last message is answered and there is no new one."""
        before = self.read()
        if before.status == "answered" and self._unread_message() is None:
            return before
        return await self._resume(before, change, limits, options)

    def _unread_message(self) -> str | None:
        """Return the message that was sent and that no step has read yet, if there is one."""
        sent = self.store.reader.signals(self.run_id, name=MESSAGE_SIGNAL)
        return message_text(json.loads(sent[0].payload)) if sent else None

    @asynccontextmanager
    async def _runner(self, setup: Setup, options: RunOptions) -> AsyncIterator[AgentRunner]:
        """Build the runner; the MCP servers of the run are running during the block."""
        database = Path(self.store.address)
        async with mcp_servers(setup.mcp, database=database) as servers:
            for problem in servers.problems:
                options.listener.note(problem)
            changes = open_change_log(self.store)
            parts = setup.build(database=database, record=options.record, servers=servers, changes=changes)

            def member(profile: AgentProfile) -> Callable[[], Agent]:
                def build() -> Agent:
                    child = setup.for_agent(profile).build(database=database, servers=servers, changes=changes)
                    name = f"{PROGRAM}/{profile.name}"
                    return build_agent(child.coordinator, child.tools, name=name, policy=child.policy)

                return build

            agent = build_agent(
                parts.coordinator,
                parts.tools,
                name=PROGRAM,
                policy=parts.policy,
                children={profile.name: member(profile) for profile in setup.agents},
            )
            yield AgentRunner.of(agent, LocalEngine(self.store, observers=[options.listener]))

    async def _resume(
        self,
        before: Turn,
        change: SetupChange,
        limits: Limits,
        options: RunOptions,
        *,
        sent: tuple[str, dict[str, Any]] | None = None,
    ) -> Turn:
        """Send a signal, if any, and resume; nothing is sent when the setup or the place of the
        page is wrong.
        """
        setup = _with_max_requests(self.setup_after(change, before.state.setup), limits)
        record_setup(self.store.reader.database_id, setup.to_json())
        opens_turn = sent is not None and sent[0] == MESSAGE_SIGNAL
        steps = None
        if opens_turn or "max_requests" in limits:
            # A step is a model request; those of earlier turns, and of other agents, do not count
            # for this turn.
            spent = await self.store.spent_by_descendants(self.run_id)
            earlier = before.step_index + spent.steps
            steps = earlier + setup.max_requests - (0 if opens_turn else before.state.turn_requests)
        async with self._runner(setup, options) as runner:
            with options.tracing(runner, self.run_id):
                if sent is not None:
                    await runner.signal(run_id=self.run_id, name=sent[0], payload=sent[1])
                result = await runner.resume(
                    run_id=self.run_id, max_steps=options.max_steps, budget=_budget(limits, steps)
                )
        return self._turn(result)

    def _turn(self, result: RunResult) -> Turn:
        error = None if result.error is None else result.error.as_json()
        status, pending, error = self._status(result.status, result.wait, error)
        return Turn(
            run_id=result.run_id,
            status=status,
            step_index=result.step_index,
            state=chat_state(result.run_id, result.state),
            was_stored=result.was_stored,
            error=error,
            wait=result.wait,
            pending=pending,
        )

    def _status(
        self, status: RunStatus, wait: dict[str, Any] | None, error: dict[str, Any] | None
    ) -> tuple[ChatStatus, tuple[Request, ...], dict[str, Any] | None]:
        """Return the status of the run; one that waits for child runs has theirs, when that needs
        the user.
        """
        found = chat_status(status, wait, error)
        if found not in {"approval", "waiting"}:
            return found, (), error
        pending = tuple(approval_requests(self.store, self.run_id))
        if pending:
            return "approval", pending, error
        for child_id in (wait or {}).get("children", ()):
            child = self._runs.find(child_id)
            if child is not None and chat_status(child["status"], child["wait"], child["error"]) == "limit":
                return "limit", (), child["error"]
        return found, (), error


def _budget(limits: Limits, steps: int | None) -> Budget | None:
    """Turn the limits of a command into a budget of the runner; None when there are none."""
    budget = Budget(
        steps=steps,
        tokens=limits.get("max_tokens"),
        cost_usd=limits.get("max_cost_usd"),
        time_s=limits.get("time_s"),
    )
    return None if budget.is_unlimited else budget


def _with_max_requests(setup: Setup, limits: Limits) -> Setup:
    return replace(setup, max_requests=limits.get("max_requests", setup.max_requests))
