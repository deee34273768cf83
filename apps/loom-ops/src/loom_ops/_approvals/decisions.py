"""The decision service, through which all interfaces decide about approval requests.

A decision has four parts: identify the person (a `Person`, resolved by the interface), check their
permission (`objection`, against the policy that was bound to the request), write the decision (the
runner's rows), record it (the audit trail). A refusal is recorded, too. Anybody may deny: that
starts nothing.

The service never resumes a run. It returns which run can be resumed, and each interface does that
in its own way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from loom_agents.cli import request_name, requests_in_tree
from loom_agents.redaction import redact_text
from loom_runner.cli_base import ExitCode
from loom_runner.run_ids import call_id, root_run_id

from loom_ops._approvals.people import objection
from loom_ops._approvals.requests import choose_request
from loom_ops._audit.chain import AuditFact
from loom_ops._audit.facts import update_audit_trail
from loom_ops._audit.trail import open_trail
from loom_ops._clock import now_iso
from loom_ops._errors import LoomOpsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from loom_agents.cli import Request
    from loom_runner import LocalEngine, Runs

    from loom_ops._approvals.people import Person
    from loom_ops._site import Site

__all__ = ["Decided", "DecisionService", "Resolution", "Verdict"]

Verdict = Literal["approve", "deny", "edit"]
Resolution = Literal["result", "retry", "skip"]


@dataclass(frozen=True, slots=True)
class Decided:
    """The result of a decision.

    Args:
        request: The request after the decision.
        run_id: The run that can be resumed now; None while the request is still pending.
    """

    request: Request
    run_id: str | None


@dataclass(frozen=True, slots=True)
class DecisionService:
    """Decide about the requests of one database.

    Args:
        engine: The engine of the runs.
        site: The settings, for the groups.
        database: The file of the runs and of the audit trail.
    """

    engine: LocalEngine
    site: Site
    database: Path

    @property
    def runs(self) -> Runs:
        """The rows of the runs."""
        return self.engine.runs

    def requests(self, run_id: str | None = None, *, pending_only: bool = True) -> list[Request]:
        """Return the requests of a run and its children; of all runs when it is None."""
        return requests_in_tree(self.runs.approvals(pending_only=pending_only), run_id)

    def find(self, verb: str, run_id: str, number: int | None) -> Request:
        """Return the request with the given number, or the only pending one.

        Raises:
            LoomOpsError: There is no such request, or there are several.
            UnknownRun: There is no such run.
        """
        self.runs.get(run_id)
        return choose_request(self.runs.approvals(), run_id, number, verb)

    async def decide(
        self,
        request: Request,
        verdict: Verdict,
        person: Person,
        *,
        note: str = "",
        arguments: Mapping[str, Any] | None = None,
    ) -> Decided:
        """Approve a request, deny it, or approve it with other arguments (`edit`).

        Raises:
            LoomOpsError: The person may not; exit code 5.
            RunnerError: It was decided before, or has expired.

        Durability: decision and audit entry are on disk when this returns.
        """
        self._require_permission(f"{verdict} {request_name(request)}", verdict, request, person)
        decided = await self.engine.decide(
            run_id=request["run_id"],
            number=request["number"],
            how=verdict,
            by=person.name,
            via=person.via,
            note=redact_text(note),
            arguments=arguments,
        )
        root = root_run_id(request["run_id"])
        update_audit_trail(self.runs, root, self.database)
        return Decided(decided, None if decided["status"] == "pending" else root)

    async def resolve(self, run_id: str, call: int, how: Resolution, person: Person) -> str:
        """Record what happened to a command in doubt; return the run that can be resumed now.

        This requires the permission to approve the command, because it may start it again.

        Args:
            call: The number of the call in its run.
            how: `result` when the command was done, `retry` to start it again, `skip` to record it
                as failed.

        Raises:
            LoomOpsError: The person may not; exit code 5.
            RunnerError: There is no such call, or it is not in doubt.

        Durability: resolution and audit entry are on disk when this returns.
        """
        in_doubt = [row for row in self.runs.doubts(run_id) if row["id"] == f"{run_id}#{call}"]
        for request in self.runs.approvals(run_id):
            if any((request["key"], request["step_index"]) == (row["key"], row["step_index"]) for row in in_doubt):
                self._require_permission(f"resolve {call_id(run_id, call)}", "resolve", request, person)
        result = {"ok": True, "text": f"{person} confirmed that it was done"} if how == "result" else None
        await self.engine.resolve(run_id=run_id, call=call, how=how, result=result, decided_by=person.name)
        root = root_run_id(run_id)
        update_audit_trail(self.runs, root, self.database)
        return root

    def refusal(self, verb: str, request: Request, person: Person) -> str | None:
        """Return why a person may not do this, and record the refusal; None when they may."""
        if verb == "deny":
            return None
        why = objection(person, request["policy"], groups=self.site.groups, database=self.database)
        if why is not None:
            self.record_refusal(request, person, why)
        return why

    def record_refusal(self, request: Request, person: Person, why: str) -> None:
        """Write to the audit trail that a person tried to decide without permission.

        Durability: it is on disk when this returns.
        """
        at = now_iso()
        name = f"{request_name(request)}/refused/{at}"
        content = {"approval": request["number"], "via": person.via, "why": why}
        with open_trail(self.database) as trail:
            trail.append([AuditFact(name, request["run_id"], at, "approval.refused", person.name, content)])

    def _require_permission(self, what: str, verb: str, request: Request, person: Person) -> None:
        why = self.refusal(verb, request, person)
        if why is not None:
            raise LoomOpsError(
                f"cannot {what}: {why}.",
                exit_code=ExitCode.DENIED,
                run_id=request["run_id"],
            )
