"""The decision service, through which all interfaces decide about approval requests.

A decision has four parts: identify the person (a `Person`, resolved by the interface), check their
permission (`objection`, against the policy that was bound to the request), write the decision (the
runner's rows) and record it (the audit trail) in one transaction. A refusal is recorded, too.
Anybody may deny: that starts nothing. The decision is about what the request shows: when it was
edited since, it is refused.

The service never resumes a run. It returns which run can be resumed, and each interface does that
in its own way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from loom_agents.cli import request_name, requests_in_tree
from loom_agents.redaction import redact_text
from loom_runner.authority import Authority
from loom_runner.cli_base import ExitCode
from loom_runner.run_ids import call_id, root_run_id

from loom_ops._approvals.binding import PRODUCT
from loom_ops._approvals.edits import edited_arguments
from loom_ops._approvals.people import bound_person, objection
from loom_ops._approvals.requests import choose_request
from loom_ops._approvals.signatures import decision_signer
from loom_ops._audit.approval_facts import approval_facts
from loom_ops._audit.chain import AuditFact
from loom_ops._audit.facts import update_audit_trail
from loom_ops._audit.trail import append_facts, open_trail
from loom_ops._clock import now_iso
from loom_ops._commands.rules_file import load_rules
from loom_ops._errors import LoomOpsError
from loom_ops._runbook.inputs import input_values
from loom_ops._runbook.parse import require_runbook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
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
        site: The settings, for the allow rules of an edit. Groups and people are those of each
            request.
        database: The file of the runs and of the audit trail.
        sign: Returns the signature of a decision of the person who decides here, for its parts
            (see `loom_runner.authority.Authority`); None where there is no private key of a person.
    """

    engine: LocalEngine
    site: Site
    database: Path
    sign: Callable[[Mapping[str, Any]], str] | None = None

    @property
    def runs(self) -> Runs:
        """The rows of the runs."""
        return self.engine.runs

    def requests(self, run_id: str | None = None, *, pending_only: bool = True) -> list[Request]:
        """Return the requests of a run and its children; of all runs when it is None."""
        return requests_in_tree(self.runs.approvals(pending_only=pending_only), run_id)

    def find(self, verb: str, run_id: str, number: int | None, *, digest: str = "") -> Request:
        """Return the request with the given number, or the only pending one.

        Args:
            digest: The begin of the hash that the person was shown.

        Raises:
            LoomOpsError: There is no such request, there are several, or it was edited since.
            UnknownRun: There is no such run.
        """
        self.runs.get(run_id)
        return choose_request(self.runs.approvals(), run_id, number, verb, digest=digest)

    async def decide(
        self,
        request: Request,
        verdict: Verdict,
        person: Person,
        *,
        note: str = "",
        arguments: Mapping[str, Any] | None = None,
    ) -> Decided:
        """Approve a request, deny it, or propose other arguments for others to approve (`edit`).

        Args:
            request: As it was shown to the person.
            person: Who the interface has proven; the settings that were bound to the request
                decide which of its people that is.

        Raises:
            LoomOpsError: The person may not (exit code 5), or the edit is not allowed.
            RunnerError: It was decided or edited before, or has expired.

        Durability: decision and audit entry are on disk when this returns, both or none.
        """
        person = bound_person(person, request["policy"])
        what = f"{verdict} {request_name(request)}"
        self._require_permission(what, verdict, request, person)
        if arguments is not None:
            try:
                arguments = self._edited(request, arguments)
            except LoomOpsError as exc:
                raise LoomOpsError(f"cannot {what}: {exc}", run_id=request["run_id"]) from exc
        root = root_run_id(request["run_id"])
        decided = await self.engine.decide(
            run_id=request["run_id"],
            number=request["number"],
            how=verdict,
            by=person.name,
            via=person.via,
            note=redact_text(note),
            arguments=arguments,
            shown=request["final_hash"],
            authority=self._authority(root, decision_signer(request, verdict, self.sign, self.site)),
        )
        self._keep_head(root)
        return Decided(decided, None if decided["status"] == "pending" else root)

    async def resolve(self, run_id: str, call: int, how: Resolution, person: Person) -> str:
        """Record what happened to a command in doubt; return the run that can be resumed now.

        This requires the permission to approve the command. `retry` is an approval: the command
        runs again when as many people have approved it as its policy needs.

        Args:
            call: The number of the call in its run.
            how: `result` when the command was done, `retry` to start it again, `skip` to record it
                as failed.

        Raises:
            LoomOpsError: The person may not; exit code 5.
            RunnerError: There is no such call, or it is not in doubt.

        Durability: resolution and audit entry are on disk when this returns.
        """
        root, sign = root_run_id(run_id), None
        in_doubt = [row for row in self.runs.doubts(run_id) if row["id"] == f"{run_id}#{call}"]
        for request in self.runs.approvals(run_id):
            if any((request["key"], request["step_index"]) == (row["key"], row["step_index"]) for row in in_doubt):
                person = bound_person(person, request["policy"])
                self._require_permission(f"resolve {call_id(run_id, call)}", "resolve", request, person)
                sign = decision_signer(request, "resolve", self.sign, self.site)
        result = {"ok": True, "text": f"{person} confirmed that it was done"} if how == "result" else None
        await self.engine.resolve(
            run_id=run_id,
            call=call,
            how=how,
            result=result,
            decided_by=person.name,
            via=person.via,
            authority=self._authority(root, sign),
        )
        self._keep_head(root)
        return root

    def refusal(self, verb: str, request: Request, person: Person) -> str | None:
        """Return why a person may not do this, and record the refusal; None when they may."""
        if verb == "deny":
            return None
        why = objection(person, request["policy"])
        if why is not None:
            self.record_refusal(request, person, why)
        return why

    def record_refusal(self, request: Request, person: Person, why: str) -> None:
        """Write to the audit trail that a person tried to decide without permission.

        Durability: it is on disk when this returns.
        """
        at = now_iso()
        name = f"{request_name(request)}/refused/{at}"
        content = {"approval": request["number"], "via": person.via, "identity": person.identity, "why": why}
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

    def _keep_head(self, root: str) -> None:
        """Append the head that holds the decision to the file beside the database."""
        update_audit_trail(self.runs, root, self.database)
        with open_trail(self.database) as trail:
            trail.keep_head()

    def _authority(self, root: str, sign: Callable[[Mapping[str, Any]], str] | None) -> Authority:
        update_audit_trail(self.runs, root, self.database)  # what came before the decision
        return Authority(PRODUCT, lambda db, after: append_facts(db, approval_facts(after)), sign)

    def _edited(self, request: Request, arguments: Mapping[str, Any]) -> dict[str, Any]:
        asked = self.runs.get(root_run_id(request["run_id"]))["input"]["request"]
        runbook = require_runbook(asked["text"], asked["source"])
        rules = load_rules(self.site.rules) if asked.get("drill") is None else None  # a drill has no edits
        inputs = input_values(runbook, asked["inputs"], {})
        return edited_arguments(request, arguments, runbook=runbook, inputs=inputs, rules=rules)
