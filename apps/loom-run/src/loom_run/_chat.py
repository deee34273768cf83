"""Start a conversation, and go on with one."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from loom_agents import (
    INPUT_SIGNAL,
    MESSAGE_SIGNAL,
    AgentState,
    build_agent_runner,
    message_text,
)
from loom_runner import AgentRunner, Budget, RunnerError, RunResult, SQLiteStore, ToolRegistry, UnknownRun

from loom_run._approvals import Request, requests_of
from loom_run._errors import LoomRunError
from loom_run._progress import Progress
from loom_run._servers import servers_of
from loom_run._setup import Setup, SetupChange
from loom_run._turn import Standing, Status, Turn, standing_of, state_of
from loom_run._undoing import change_log

Limits: TypeAlias = dict[str, Any]
"""What a command line says about limits: max_tokens, max_cost_usd, max_requests (in one turn), time_s."""


class Conversation:
    """One run of a store, seen as a conversation."""

    def __init__(self, store: SQLiteStore, run_id: str) -> None:
        self.store = store
        self.run_id = run_id

    def tools(self) -> ToolRegistry:
        """Build the tools that the run has."""
        return Setup.from_json(self.look().state.setup).tools(Path(self.store.description))

    def exists(self) -> bool:
        """Say whether there is such a run."""
        return self.store.get_run(self.run_id) is not None

    def look(self) -> Turn:
        """Read how it stands.

        Raises:
            UnknownRun: there is no such run.
            LoomRunError: the run was not made by `loom-run`.
        """
        record = self.store.get_run(self.run_id)
        if record is None:
            where = self.store.description
            raise UnknownRun(
                f"cannot find {self.run_id!r}: there is no such run in {where}. See loom-run runs.", run_id=self.run_id
            )
        state = state_of(self.run_id, json.loads(record.state))
        error = None if record.error is None else record.error.as_json()
        standing, pending, error = self._standing(record.status, record.wait, error)
        return Turn(
            self.run_id,
            standing,
            record.step_index,
            state,
            was_stored=True,
            error=error,
            wait=record.wait,
            pending=pending,
        )

    async def begin(self, message: str, setup: Setup, limits: Limits, desk: "Desk") -> Turn:
        """Start the run with the user's first message."""
        setup = _with_requests(setup, limits)
        state = AgentState(setup=setup.to_json()).with_user(message).to_json()
        budget = _budget(limits, setup.max_requests)
        async with self._runner(setup, desk) as runner:
            with desk.tracing(runner, self.run_id):
                result = await runner.start(
                    run_id=self.run_id, initial_state=state, max_steps=desk.max_steps, budget=budget
                )
        return self._turn(result)

    async def say(
        self, message: str, change: SetupChange, limits: Limits, desk: "Desk", *, repeat: bool = False
    ) -> Turn:
        """Send another message, or the same one again.

        The message that is the last one goes on with its turn, or gives the stored answer. Another one opens the
        next turn when the last is answered; so does the same one with `repeat`, from a person who types it again.

        Raises:
            LoomRunError: the last message has no answer yet and this is another one.
        """
        before = self.look()
        unread = self._unread()
        last = before.state.last_user_text if unread is None else unread
        is_answered = before.standing == "answered" and unread is None
        if message == last and not is_answered:
            return await self.go_on(change, limits, desk)
        if message == last and not repeat:
            return before
        if before.standing == "question" and not self.store.signals(self.run_id, name=INPUT_SIGNAL):
            sent = (INPUT_SIGNAL, {"text": message})
            return await self._resumed(before, change, limits, desk, sent=sent)
        if not is_answered:
            raise LoomRunError(
                f"cannot send another message to {self.run_id!r}: its last one has no answer yet (the run is"
                f" {before.standing}). Finish it first: loom-run resume {self.run_id}. Or choose another --run-id.",
                run_id=self.run_id,
            )
        return await self._resumed(before, change, limits, desk, sent=(MESSAGE_SIGNAL, {"text": message}))

    async def go_on(self, change: SetupChange, limits: Limits, desk: "Desk") -> Turn:
        """Resume the run where it stands."""
        before = self.look()
        if before.standing == "answered" and self._unread() is None:
            return before
        return await self._resumed(before, change, limits, desk)

    def _unread(self) -> str | None:
        """Give the message that was sent and not yet taken in, if there is one."""
        sent = self.store.signals(self.run_id, name=MESSAGE_SIGNAL)
        return message_text(json.loads(sent[0].payload)) if sent else None

    @asynccontextmanager
    async def _runner(self, setup: Setup, desk: "Desk") -> AsyncIterator[AgentRunner]:
        """Build the runner, with the MCP servers of the run started for as long as the block works."""
        database = Path(self.store.description)
        async with servers_of(setup.mcp, database=database) as servers:
            for problem in servers.problems:
                desk.progress.note(problem)
            changes = change_log(self.store)
            parts = setup.parts(database=database, record=desk.record, servers=servers, changes=changes)

            def maker(agent: Setup) -> Callable[[], AgentRunner]:
                def make() -> AgentRunner:
                    its = agent.parts(database=database, servers=servers, changes=changes)
                    return build_agent_runner(its.coordinator, its.tools, self.store, policy=its.policy)

                return make

            yield build_agent_runner(
                parts.coordinator,
                parts.tools,
                self.store,
                observers=[desk.progress],
                policy=parts.policy,
                children={profile.name: maker(setup.of(profile)) for profile in setup.agents},
            )

    async def _resumed(
        self,
        before: Turn,
        change: SetupChange,
        limits: Limits,
        desk: "Desk",
        *,
        sent: tuple[str, dict[str, Any]] | None = None,
    ) -> Turn:
        """Resume, after a signal was left; nothing is sent when the setup or the page's place is wrong."""
        setup = _with_requests(change.applied_to(before.state.setup), limits)
        begins = sent is not None and sent[0] == MESSAGE_SIGNAL
        steps = None
        if begins or "max_requests" in limits:
            # A step is a model request; those of the turns before, and of other agents, are over.
            earlier = before.step_index + self.store.spent_by_descendants(self.run_id).steps
            steps = earlier + setup.max_requests - (0 if begins else before.state.turn_requests)
        async with self._runner(setup, desk) as runner:
            with desk.tracing(runner, self.run_id):
                if sent is not None:
                    await runner.signal(run_id=self.run_id, name=sent[0], payload=sent[1])
                result = await runner.resume(
                    run_id=self.run_id, max_steps=desk.max_steps, budget=_budget(limits, steps)
                )
        return self._turn(result)

    def _turn(self, result: RunResult) -> Turn:
        error = None if result.error is None else result.error.as_json()
        standing, pending, error = self._standing(result.status, result.wait, error)
        return Turn(
            run_id=result.run_id,
            standing=standing,
            step_index=result.step_index,
            state=state_of(result.run_id, result.state),
            was_stored=result.was_stored,
            error=error,
            wait=result.wait,
            pending=pending,
        )

    def _standing(
        self, status: Status, wait: dict[str, Any] | None, error: dict[str, Any] | None
    ) -> tuple[Standing, tuple[Request, ...], dict[str, Any] | None]:
        """Say how the run stands; one that waits for other agents stands as they do, when that needs the user."""
        standing = standing_of(status, wait, error)
        if standing not in {"approval", "waiting"}:
            return standing, (), error
        pending = tuple(requests_of(self.store, self.run_id))
        if pending:
            return "approval", pending, error
        for child in (wait or {}).get("children", ()):
            record = self.store.get_run(child)
            held = None if record is None or record.error is None else record.error.as_json()
            if record is not None and standing_of(record.status, record.wait, held) == "limit":
                return "limit", (), held
        return standing, (), error


@dataclass(slots=True)
class Desk:
    """Hold what one command brings to a conversation.

    Args:
        progress: is told what happens.
        max_steps: pause after this many steps.
        trace: where to write the page about the run; None for no page.
        record: a script file to write the model's replies to.
        page_error: why the page could not be written, after the run had done its work.
    """

    progress: Progress
    max_steps: int | None = None
    trace: Path | None = None
    record: Path | None = None
    page_error: str | None = None

    @contextmanager
    def tracing(self, runner: AgentRunner, run_id: str) -> Iterator[None]:
        """Record what happens in the block, when a page is wanted.

        A page that cannot be written at the end takes nothing away from the answer: the reason is kept.
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
            self.page_error = " ".join(str(exc).split())


def _budget(limits: Limits, steps: int | None) -> Budget | None:
    """Turn what a command line says into a budget of the runner; None when it says nothing."""
    budget = Budget(
        steps=steps,
        tokens=limits.get("max_tokens"),
        cost_usd=limits.get("max_cost_usd"),
        time_s=limits.get("time_s"),
    )
    return None if budget.is_unlimited else budget


def _with_requests(setup: Setup, limits: Limits) -> Setup:
    return replace(setup, max_requests=limits.get("max_requests", setup.max_requests))
