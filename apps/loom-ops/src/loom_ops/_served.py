"""Incidents, as they are served over HTTP: what a client may ask for, who may decide, and what is shown.

The face is that of `loom_agents.serve`, with its tokens, events and page. A client says what is wrong and gives inputs;
rules, runbooks, groups and model are the server's. Who decides is the subject of the token, and the same policies hold
as on the command line.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loom_ops._audit import AuditTrail
from loom_ops._audited import bring_up_to_date
from loom_ops._deciding import refused
from loom_ops._errors import LoomOpsError
from loom_ops._notified import notify
from loom_ops._people import Person, local_person, objection
from loom_ops._reader import reader
from loom_ops._states import Supervising
from loom_ops._team import Team
from loom_ops._work import MOCK, drilling, known_to, made_request, model_named, new_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loom_agents.serve import Caller, Observer
    from loom_runner import SQLiteStore

    from loom_ops._site import Site
    from loom_ops._states import Request

__all__ = ["ServedIncidents"]

_MEMBERS = frozenset({"incident", "message", "runbook", "inputs", "plan"})  # the page sends what is typed as a message


@dataclass(frozen=True, slots=True)
class ServedIncidents:
    """Serve the incidents of one database.

    Args:
        model: Who plans runs that are started here.
        is_owners: The one token was made for whoever started the server.
    """

    store: SQLiteStore
    site: Site
    model: str
    is_owners: bool = False

    @property
    def name(self) -> str:
        """What the page calls itself."""
        return "loom-ops"

    @property
    def prompt(self) -> str:
        """What the page asks for."""
        return "What is wrong? For instance: incident: API latency"

    @property
    def doors(self) -> Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        """The ways to start a run that have the names of the commands."""
        return {"/v1/supervise": lambda body: body, "/v1/runbook": _as_runbook}

    @property
    def database(self) -> Path:
        return Path(self.store.description)

    async def start(self, run_id: str, request: Mapping[str, Any], observer: Observer) -> None:
        """Start a run for an incident, or go on with it."""
        incident, runbook, inputs = _asked(request)
        model = MOCK if request.get("plan") == "all" else self.model
        if self.store.get_run(run_id) is not None:
            stored = Team.stored_request(self.store, run_id)
            if stored.incident != incident:
                raise LoomOpsError(
                    f"cannot start {run_id!r}: there is a run of this name about {stored.incident[:80]!r}.",
                    run_id=run_id,
                )
            await self.resume(run_id, observer)
            return
        made = made_request(
            self.site,
            incident,
            runbook,
            inputs,
            run_id=run_id,
            database=self.database,
            drill=False,
            model=model,
        )
        state = Supervising(made, known=known_to(self.database, incident))
        with drilling(made):
            runner = self._team(made, observer).runner()
            await runner.start(run_id=run_id, initial_state=state)
        await self._kept(run_id)

    async def say(self, run_id: str, message: str, observer: Observer) -> None:
        """Refuse: a team takes decisions, not messages."""
        del message, observer
        raise LoomOpsError(f"cannot talk to {run_id!r}: a team takes decisions, not messages.", run_id=run_id)

    async def resume(self, run_id: str, observer: Observer) -> None:
        """Go on with a run."""
        request = Team.stored_request(self.store, run_id)
        with drilling(request):
            team = self._team(request, observer)
            runner = team.taking_back() if run_id.endswith(":rollback") else team.runner()
            await runner.resume(run_id=run_id)
        await self._kept(run_id)

    def new_run_id(self) -> str:
        """Name a run."""
        return new_name()

    def about(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """Say what a run is about."""
        request = (run["state"] or {}).get("request") or {}
        role = run["run_id"].rpartition(":sub:")[2] if ":sub:" in run["run_id"] else ""
        result = run["result"] if isinstance(run["result"], dict) else {}
        title = f"{role}: {request.get('incident', '')}" if role else str(request.get("incident", ""))
        return {"title": title, "standing": result.get("outcome") or run["status"], "can_talk": False}

    def shown(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """Give what a team found and did."""
        result = run["result"] if isinstance(run["result"], dict) else {}
        state = run["state"] or {}
        steps = result.get("steps") or state.get("reports") or []
        lines = [f"{step['id']}: {step['text']}" for step in steps if isinstance(step, dict)]
        if "outcome" in result:
            lines.insert(0, f"{result['outcome']}: {result['why']}")
        role = run["run_id"].rpartition(":sub:")[2] if ":sub:" in run["run_id"] else "team"
        said: dict[str, Any] = {"role": "assistant", "model": role, "text": "\n".join(lines), "tool_calls": []}
        return {
            "messages": [said] if lines else [],
            "answer": result.get("why") or "\n".join(lines),
            "state": state,
            "result": result,
        }

    def objection(self, approval: Mapping[str, Any], caller: Caller, how: str) -> str | None:
        """Say why a caller may not decide; it is written into the audit trail."""
        person = Person(caller.name, "http", "token")
        if self.is_owners:
            person = Person(local_person().name, "http", "local-uid")
        policy = approval["policy"]
        requester = str(policy.get("requester", ""))
        why = objection(person, policy, requester=requester, groups=self.site.groups, database=self.database)
        if why is None or how == "deny":
            return None
        trail = AuditTrail(self.database)
        trail.append([refused(approval, person, why)])
        trail.close()
        return why

    # ------------------------------------------------------------------ inside

    def _team(self, request: Request, observer: Observer) -> Team:
        return Team(self.store, self.database, self.site, request, model_named(request.model), observers=(observer,))

    async def _kept(self, run_id: str) -> None:
        def keep() -> None:
            rows = reader(self.store)
            notify(self.site, self.database, rows, run_id, str(bring_up_to_date(rows, run_id, self.database)))

        await asyncio.to_thread(keep)


def _as_runbook(body: dict[str, Any]) -> dict[str, Any]:
    """Ask for every step of a runbook, in order; no model plans."""
    return {"incident": f"runbook {body.get('runbook')}", "plan": "all", **body}


def _asked(request: Mapping[str, Any]) -> tuple[str, str | None, dict[str, str]]:
    unknown = sorted(request.keys() - _MEMBERS)
    if unknown:
        raise LoomOpsError(f"cannot start a run: {unknown[0]!r} is not known. Known are {', '.join(sorted(_MEMBERS))}.")
    incident = request.get("incident", request.get("message"))
    runbook, inputs = request.get("runbook"), request.get("inputs", {})
    if not isinstance(incident, str) or not incident.strip():
        raise LoomOpsError("cannot start a run: `incident` is missing or empty. Say what is wrong.")
    if request.get("plan", "all") != "all":
        raise LoomOpsError("cannot start a run: `plan` is not `all`, which makes every step. Leave it out for a plan.")
    if runbook is not None and (not isinstance(runbook, str) or "/" in runbook or runbook.startswith(".")):
        raise LoomOpsError("cannot start a run: `runbook` is not the name of one of this site's runbooks.")
    if not isinstance(inputs, dict) or not all(isinstance(value, str) for value in inputs.values()):
        raise LoomOpsError("cannot start a run: `inputs` is not an object of texts.")
    return incident, runbook, inputs
