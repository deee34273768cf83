"""A team at work on one request: its four programs over one store, built the same in every process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loom_runner import AgentRunner, SQLiteStore, UnknownRun

from loom_ops._checks import World
from loom_ops._drill import Drill
from loom_ops._errors import LoomOpsError, RulesError
from loom_ops._executor import STOP_SIGNAL, executor_step
from loom_ops._planner import planner_step
from loom_ops._rules import Rules, load_rules
from loom_ops._secrets import Vault
from loom_ops._states import Executing, Planning, Request, Supervising, Verifying
from loom_ops._supervisor import supervisor_step
from loom_ops._tools import Places, gate, team_tools
from loom_ops._verifier import LOOK_SIGNAL, verifier_step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loom_agents import Model
    from loom_runner import Gate, Observer

    from loom_ops._site import Site

__all__ = ["Team", "now_iso"]


def now_iso() -> str:
    """Return the time (UTC, ISO 8601, microseconds)."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Team:
    """What a team is made of.

    Args:
        store: The database of the runs.
        database: Its path.
        model: Whom the planner asks.
    """

    store: SQLiteStore
    database: Path
    site: Site
    request: Request
    model: Model
    observers: Sequence[Observer] = ()

    def runner(self) -> AgentRunner:
        """Build the supervisor, which starts the others when they are needed."""
        return self._runners()[0]

    def taking_back(self) -> AgentRunner:
        """Build an executor that works by itself, to take something back."""
        return self._runners()[1]

    def _runners(self) -> tuple[AgentRunner, AgentRunner]:
        world = World(self.site.folder, self._rules(), Vault(self.request.runbook.secrets, self.site.folder))
        places = Places(self.database, self.database.parent / "postmortems")
        tools = team_tools(world, places, now=now_iso)
        asks = gate(world, requester=self.request.requester)

        def made(step: Any, state: type, *, guard: Gate | None = None) -> AgentRunner:
            return AgentRunner(
                step=step, store=self.store, tools=tools, state_type=state, gate=guard, observers=self.observers
            )

        executor = executor_step(lambda run_id: bool(self.store.signals(run_id, name=STOP_SIGNAL)), self._wake)
        verifier = verifier_step(self._status_of, self._stop)
        supervisor = AgentRunner(
            step=supervisor_step(),
            store=self.store,
            tools=tools,
            state_type=Supervising,
            observers=self.observers,
            children={
                "planner": lambda: made(planner_step(self.model), Planning),
                "executor": lambda: made(executor, Executing, guard=asks),
                "verifier": lambda: made(verifier, Verifying),
            },
        )
        return supervisor, made(executor, Executing, guard=asks)

    def _rules(self) -> Rules | None:
        """Return the allow rules: the drill's in a drill, else the site's; None when commands are off."""
        if self.request.drill is not None:
            return Drill(Path(self.request.drill)).rules
        try:
            return load_rules(self.site.rules)
        except RulesError:
            return None

    def _status_of(self, run_id: str) -> str:
        record = self.store.get_run(run_id)
        return "created" if record is None else record.status

    async def _stop(self, run_id: str) -> None:
        await self._send(run_id, STOP_SIGNAL)

    async def _wake(self, executor: str, always: bool) -> None:
        verifier = executor.removesuffix("executor") + "verifier"
        if verifier == executor + "verifier":
            return  # it works by itself
        if always or self._status_of(verifier) == "waiting":
            await self._send(verifier, LOOK_SIGNAL)

    async def _send(self, run_id: str, signal: str) -> None:
        await self.store.send_signal(run_id, signal, "null", int(datetime.now(UTC).timestamp() * 1_000_000))

    @staticmethod
    def stored_request(store: SQLiteStore, run_id: str) -> Request:
        """Read what a run was asked for.

        Raises:
            LoomOpsError: It is not a run of loom-ops.
        """
        record = store.get_run(run_id)
        if record is None:
            raise UnknownRun(
                f"cannot go on with {run_id!r}: there is no such run in {store.description}.", run_id=run_id
            )
        try:
            return Request(**json.loads(record.input)["request"])
        except (ValueError, TypeError, LookupError) as exc:
            raise LoomOpsError(
                f"cannot go on with {run_id!r}: it is not a run of loom-ops supervise.", run_id=run_id
            ) from exc
