"""Incidents over HTTP: what a client may request, who may decide, what is shown.

Tokens, events and page are those of `loom_agents.serve`. A client describes an incident and gives
inputs; rules, runbooks, groups and model are those of the server. The person who decides is the
subject of the token, and the same policies apply as on the command line.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from loom_agents.serve import NotPermittedError
from loom_runner import LocalEngine
from loom_runner.cli_base import ExitCode
from loom_runner.run_ids import child_name, is_child

from loom_ops._approvals.decisions import DecisionService
from loom_ops._approvals.people import People, local_identity
from loom_ops._errors import LoomOpsError
from loom_ops._incidents.driving import record_and_notify, record_settings, runner_of, serve_drill
from loom_ops._incidents.models import MOCK, load_model
from loom_ops._incidents.requests import (
    build_request,
    check_same_incident,
    known_facts,
    new_run_id,
    stored_request,
)
from loom_ops._team.outcomes import current_outcome, outcome_text
from loom_ops._team.states import SupervisorState
from loom_ops._team.team import Team

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from loom_agents.serve import Caller, Decision, Observer
    from loom_runner import SQLiteStore

    from loom_ops._approvals.people import Person
    from loom_ops._site import Site
    from loom_ops._team.states import RunRequest

__all__ = ["IncidentProduct"]

_MEMBERS: Final = frozenset({"incident", "message", "runbook", "inputs", "plan"})
"""The members of a request; the page sends the typed text as `message`."""


@dataclass(frozen=True, slots=True)
class IncidentProduct:
    """The incidents of one database, as a product of `loom_agents.serve`.

    Args:
        database: Its path, for the tables of loom-ops.
        model: The planner's model for runs that are started here.
        is_owners: Whether the only token was generated for the user who started the server.
    """

    store: SQLiteStore
    database: Path
    site: Site
    model: str
    is_owners: bool = False

    @property
    def name(self) -> str:
        """The title of the page."""
        return "loom-ops"

    @property
    def prompt(self) -> str:
        """The text in the empty field of the page."""
        return "What is wrong? For example: incident: API latency"

    @property
    def start_routes(self) -> Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        """The paths that start a run, named like the commands."""
        return {"/v1/supervise": lambda body: body, "/v1/runbook": _as_runbook}

    @property
    def decisions(self) -> DecisionService:
        """The decision service of the database."""
        return DecisionService(LocalEngine(self.store), self.site, self.database)

    async def start(self, run_id: str, request: Mapping[str, Any], observer: Observer, caller: Caller) -> None:
        """Start a run for an incident, or resume the run of this id and incident."""
        incident, runbook, inputs = _read_request(request)
        if self.store.reader.get_run(run_id) is not None:
            check_same_incident(self.store, run_id, incident)
            await self.resume(run_id, observer)
            return
        built = build_request(
            self.site,
            incident,
            runbook,
            inputs,
            run_id=run_id,
            database=self.database,
            drill=False,
            model=MOCK if request.get("plan") == "all" else self.model,
            requester=self._person(caller),
            is_served=True,
        )
        await asyncio.to_thread(record_settings, run_id, self.database, self.site)
        state = SupervisorState(built, known=known_facts(self.database, incident))
        with serve_drill(built):
            runner = self._team(built, observer).supervisor()
            await runner.start(run_id=run_id, initial_state=state)
        await self._record_and_notify(run_id)

    async def send_message(self, run_id: str, message: str, observer: Observer) -> None:
        """Refuse: a team accepts decisions, not messages."""
        del message, observer
        raise LoomOpsError(f"cannot send a message to {run_id!r}: a team accepts only decisions.", run_id=run_id)

    async def resume(self, run_id: str, observer: Observer) -> None:
        """Resume a run."""
        request = stored_request(self.store, run_id)
        await asyncio.to_thread(record_settings, run_id, self.database, self.site)
        with serve_drill(request):
            runner = runner_of(self._team(request, observer), run_id)
            await runner.resume(run_id=run_id)
        await self._record_and_notify(run_id)

    def new_run_id(self) -> str:
        """Return an id for a run that the client did not name."""
        return new_run_id()

    def summary(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """Return the summary of a run, for the list."""
        request = (run["state"] or {}).get("request") or {}
        result = run["result"] if isinstance(run["result"], dict) else {}
        incident = str(request.get("incident", ""))
        title = f"{child_name(run['run_id'])}: {incident}" if is_child(run["run_id"]) else incident
        status = current_outcome(result["outcome"]) if result.get("outcome") else run["status"]
        return {"title": title, "display_status": status, "accepts_messages": False}

    def details(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """Return the findings and actions of a team."""
        result = run["result"] if isinstance(run["result"], dict) else {}
        state = run["state"] or {}
        steps = result.get("steps") or state.get("reports") or []
        lines = [f"{step['id']}: {step['text']}" for step in steps if isinstance(step, dict)]
        if "outcome" in result:
            lines.insert(0, f"{outcome_text(result['outcome'])}: {result['why']}")
        author = child_name(run["run_id"]) if is_child(run["run_id"]) else "team"
        message: dict[str, Any] = {"role": "assistant", "model": author, "text": "\n".join(lines), "tool_calls": []}
        return {
            "messages": [message] if lines else [],
            "answer": result.get("why") or "\n".join(lines),
            "state": state,
            "result": result,
        }

    async def decide(self, request: Mapping[str, Any], decision: Decision, caller: Caller) -> dict[str, Any]:
        """Record a decision, as on the command line.

        Raises:
            NotPermittedError: The caller may not.
            RunnerError: It was decided before, or has expired.
        """
        try:
            decided = await self.decisions.decide(
                request, decision.kind, self._person(caller), note=decision.note, arguments=decision.arguments
            )
        except LoomOpsError as exc:
            if exc.exit_code != ExitCode.DENIED:
                raise
            raise NotPermittedError(str(exc)) from exc
        return dict(decided.request)

    # ------------------------------------------------------------------ inside

    def _person(self, caller: Caller) -> Person:
        """Return who a request comes from: the subject of the token, never the server's user."""
        identity = local_identity() if self.is_owners else f"token:{caller.name}"
        return People.of(self.site).person(identity, "http")

    def _team(self, request: RunRequest, observer: Observer) -> Team:
        return Team(self.store, self.database, self.site, request, load_model(request.model), observers=(observer,))

    async def _record_and_notify(self, run_id: str) -> None:
        await asyncio.to_thread(record_and_notify, self.store, run_id, self.database, self.site)


def _as_runbook(body: dict[str, Any]) -> dict[str, Any]:
    """Return the request for every step of a runbook, in order; no model plans."""
    return {"incident": f"runbook {body.get('runbook')}", "plan": "all", **body}


def _read_request(request: Mapping[str, Any]) -> tuple[str, str | None, dict[str, str]]:
    unknown = sorted(request.keys() - _MEMBERS)
    if unknown:
        raise LoomOpsError(f"cannot start a run: {unknown[0]!r} is not known. Known: {', '.join(sorted(_MEMBERS))}.")
    incident = request.get("incident", request.get("message"))
    runbook, inputs = request.get("runbook"), request.get("inputs", {})
    if not isinstance(incident, str) or not incident.strip():
        raise LoomOpsError("cannot start a run: `incident` is missing or empty. Describe the problem.")
    if request.get("plan", "all") != "all":
        raise LoomOpsError("cannot start a run: `plan` is not `all`, which runs every step. Leave it out for a plan.")
    if runbook is not None and (not isinstance(runbook, str) or "/" in runbook or runbook.startswith(".")):
        raise LoomOpsError("cannot start a run: `runbook` is not the name of one of this site's runbooks.")
    if not isinstance(inputs, dict) or not all(isinstance(value, str) for value in inputs.values()):
        raise LoomOpsError("cannot start a run: `inputs` is not an object of texts.")
    return incident, runbook, inputs
