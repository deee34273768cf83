"""A team: its four programs over one store, built the same way in every process."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loom_agents.redaction import redact
from loom_runner import Agent, AgentRunner, LocalEngine
from loom_runner.run_ids import is_child

from loom_ops._approvals.binding import PolicyBinding
from loom_ops._approvals.gate import approval_gate
from loom_ops._approvals.signatures import objection_to_signature
from loom_ops._approvals.verification import approval_verifier
from loom_ops._commands.context import ExecutionContext
from loom_ops._commands.rules_file import load_rules
from loom_ops._commands.secrets import Vault
from loom_ops._drill import Drill
from loom_ops._errors import RulesError
from loom_ops._run_ids import sibling_id
from loom_ops._runbook.destinations import with_destinations
from loom_ops._runs import PROGRAMS
from loom_ops._team.executor import STOP_SIGNAL, executor_step
from loom_ops._team.planner import planner_step
from loom_ops._team.states import (
    EXECUTOR_UPCASTERS,
    EXECUTOR_VERSION,
    ExecutorState,
    PlannerState,
    RunRequest,
    SupervisorState,
    VerifierState,
)
from loom_ops._team.supervisor import supervisor_step
from loom_ops._team.tools import OutputPaths, team_tools
from loom_ops._team.verifier import LOOK_SIGNAL, verifier_step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loom_agents import Model
    from loom_runner import Observer, SQLiteStore

    from loom_ops._commands.allow_rules import Rules
    from loom_ops._site import Site

__all__ = ["Team"]


@dataclass(frozen=True, slots=True)
class Team:
    """The parts of a team.

    Args:
        store: The database of the runs.
        database: Its path.
        model: The planner's model.
    """

    store: SQLiteStore
    database: Path
    site: Site
    request: RunRequest
    model: Model
    observers: Sequence[Observer] = ()

    def supervisor(self) -> AgentRunner:
        """Build the supervisor, which starts the others when they are needed."""
        return self._runners()[0]

    def executor(self) -> AgentRunner:
        """Build an executor without a team, for a rollback or for a step that is run alone."""
        return self._runners()[1]

    def _runners(self) -> tuple[AgentRunner, AgentRunner]:
        runbook = self.request.runbook
        vault = Vault(with_destinations(runbook), self.site.folder)
        rules, why_off = self._rules()
        context = ExecutionContext(self.site.folder, rules, vault, why_off=why_off, mcp_file=self.site.mcp_file)
        tools = team_tools(context, OutputPaths(self.database, self.database.parent / "postmortems"))

        def agent(role: str, step: Any, state: type, **more: Any) -> Agent:
            return Agent(f"{PROGRAMS}{role}", step=step, tools=tools, state_type=state, redact=redact, **more)

        request = self.request
        binding = PolicyBinding(self.site, self.database, request.requester_identity or request.requester)
        by_hand = request.runbook.by_hand_policy
        executor = agent(
            "executor",
            executor_step(self._is_stopped, self._wake),
            ExecutorState,
            gate=approval_gate(context, binding, by_hand=by_hand),
            verify_approval=approval_verifier(
                rules,
                request.runbook,
                request.values(),
                by_hand=by_hand,
                why_off=why_off,
                check_signature=functools.partial(objection_to_signature, self.site),
            ),
            state_version=EXECUTOR_VERSION,
            upcasters=EXECUTOR_UPCASTERS,
        )
        supervisor = agent(
            "supervisor",
            supervisor_step(),
            SupervisorState,
            children={
                "planner": lambda: agent("planner", planner_step(self.model), PlannerState),
                "executor": executor,
                "verifier": lambda: agent("verifier", verifier_step(self._status_of, self._stop), VerifierState),
            },
        )
        engine = LocalEngine(self.store, observers=self.observers)
        return AgentRunner.of(supervisor, engine), AgentRunner.of(executor, engine)

    def _rules(self) -> tuple[Rules | None, str]:
        """Return the allow rules, in a drill those of the drill; or None, and why there are
        none.
        """
        if self.request.drill is not None:
            return Drill(Path(self.request.drill)).rules, ""
        try:
            return load_rules(self.site.rules), ""
        except RulesError as exc:
            return None, str(exc)

    def _status_of(self, run_id: str) -> str:
        record = self.store.reader.get_run(run_id)
        return "created" if record is None else record.status

    def _is_stopped(self, run_id: str) -> bool:
        return bool(self.store.reader.signals(run_id, name=STOP_SIGNAL))

    async def _stop(self, run_id: str) -> None:
        await self._send(run_id, STOP_SIGNAL)

    async def _wake(self, executor: str, always: bool) -> None:
        if not is_child(executor):
            return  # a rollback has no verifier
        verifier = sibling_id(executor, "verifier")
        if always or self._status_of(verifier) == "waiting":
            await self._send(verifier, LOOK_SIGNAL)

    async def _send(self, run_id: str, signal: str) -> None:
        await self.store.send_signal(run_id, signal, "null", int(datetime.now(UTC).timestamp() * 1_000_000))
