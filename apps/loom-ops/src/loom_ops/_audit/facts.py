"""Derive the facts for the audit trail from the rows of a run.

Facts are derived from committed rows: the trail can be brought up to date at any time, from any
process, and deriving a fact again changes nothing.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from loom_runner.run_ids import child_name

from loom_ops._audit.chain import AuditFact
from loom_ops._audit.trail import open_trail

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from loom_runner import Runs

    from loom_ops._audit.chain import AuditHead

__all__ = ["approval_facts", "audit_facts", "update_audit_trail"]

_KINDS: Final = {"run_command": "command", "look": "look", "do_by_hand": "by hand", "check": "check"}
"""For each tool the first part of the kinds of its entries. They are stored: keep them."""
_ENDED: Final = frozenset({"completed", "failed", "cancelled", "parked"})
_RESULT_MEMBERS: Final = {"planner": ("steps", "reason", "model"), "verifier": ("ok", "stopped")}


def update_audit_trail(runs: Runs, run_id: str, database: Path) -> AuditHead | None:
    """Record what happened to a run and its children since the last time; return the head.

    Decisions of people are not recorded here: the entry of each was written in its transaction, and
    a decision without an entry was not made by loom-ops.

    Durability: it is on disk when this returns.
    """
    with open_trail(database) as trail:
        recorded = {entry.source for entry in trail.entries(run_id)}
        facts = [fact for fact in audit_facts(runs, run_id) if fact.source not in recorded and not _is_of_person(fact)]
        trail.append(sorted(facts, key=lambda fact: fact.at))
        return trail.head()


def audit_facts(runs: Runs, run_id: str) -> Iterator[AuditFact]:
    """Derive all facts from the rows of a run and its children."""
    run = runs.get(run_id)
    request = run["input"].get("request", {})
    text = request.get("text", "")
    yield AuditFact(
        f"{run_id}/asked",
        run_id,
        run["created_at"],
        "run.asked",
        request.get("requester", "?"),
        {
            "incident": request.get("incident"),
            "runbook": request.get("source"),
            "runbook_sha256": sha256(text.encode()).hexdigest(),
            "inputs": request.get("inputs"),
            "drill": request.get("drill") is not None,
        },
    )
    for member in (run, *runs.children(run_id)):
        for approval in runs.approvals(member["run_id"]):
            yield from approval_facts(approval)
        role = "supervisor" if member is run else child_name(member["run_id"])
        if role != "verifier":
            yield from _calls(runs, member["run_id"], role)
        if member["status"] in _ENDED:
            yield AuditFact(
                f"{member['run_id']}/ended/{member['status']}",
                member["run_id"],
                member["updated_at"],
                "run.ended",
                role,
                {"status": member["status"], **_summary(role, member["result"] or {})},
            )


def _summary(role: str, result: dict[str, Any]) -> dict[str, Any]:
    return {name: result.get(name) for name in _RESULT_MEMBERS.get(role, ("outcome", "why", "verified"))}


def _is_of_person(fact: AuditFact) -> bool:
    return fact.kind == "approval.decided" and fact.actor != "gate"


def approval_facts(approval: Mapping[str, Any]) -> Iterator[AuditFact]:
    """Derive the facts of one request, with its decisions."""
    run_id, policy = approval["run_id"], approval["policy"]
    source = f"{run_id}/approval/{approval['number']}"
    request_facts = {"approval": approval["number"], "arguments_hash": approval["arguments_hash"]}
    request_facts |= {name: policy.get(name) for name in ("step", "argv")}
    requested = {**request_facts, "reason": approval["reason"], "needed": approval["needed"]}
    requested |= {name: policy.get(name) for name in ("group", "members", "requester", "ttl_s")}
    requested["policy_sha256"] = sha256(json.dumps(policy, sort_keys=True).encode()).hexdigest()
    yield AuditFact(f"{source}/asked", run_id, approval["requested_at"], "approval.asked", "executor", requested)
    last_edit = max((n for n, each in enumerate(approval["decisions"], 1) if each["how"] == "edit"), default=0)
    for number, decision in enumerate(approval["decisions"], 1):
        content = {**request_facts, **{name: decision[name] for name in ("how", "via", "note", "of", "signature")}}
        if number == last_edit:
            content["argv"] = (approval["edited_arguments"] or {}).get("argv")
        name, actor = f"{source}/decided/{number}", decision["by"]
        yield AuditFact(name, run_id, decision["at"], "approval.decided", actor, content)
    if approval["status"] == "expired":
        yield AuditFact(f"{source}/expired", run_id, approval["expires_at"], "approval.expired", "time", request_facts)


def _calls(runs: Runs, run_id: str, role: str) -> Iterator[AuditFact]:
    for call in runs.tool_calls(run_id):
        if call["name"] not in _KINDS:
            continue
        kind = _KINDS[call["name"]]
        source = f"{run_id}/call/{call['step_index']}/{call['key']}"
        step, at = call["arguments"], call["started_at"]
        call_facts = {"step": step.get("id")} | ({"argv": step["argv"]} if "argv" in step else {})
        if kind == "command":
            yield AuditFact(f"{source}/started", run_id, at, "command.started", role, call_facts)
        if kind == "command" and call["status"] == "in_doubt":
            yield AuditFact(f"{source}/doubt/{call['tries']}", run_id, at, "command.in_doubt", role, call_facts)
        if call["status"] in ("done", "failed"):
            result = call["result"] or {}
            error = (call["error"] or {}).get("message")
            content = {
                **call_facts,
                "status": call["status"],
                "ok": result.get("ok"),
                "text": result.get("text") or error,
            }
            content |= {name: result[name] for name in ("exit_code", "rule", "value", "expect") if name in result}
            if call["decided_by"] is not None:
                content["decided_by"] = call["decided_by"]
            yield AuditFact(f"{source}/ended", run_id, at, f"{kind}.ended", role, content)
