"""What of a run's rows belongs into the audit trail. Facts are derived, never kept twice: the trail can be brought up
to date at any time, from any process, and telling a fact again changes nothing."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from loom_ops._audit import AuditHead, AuditTrail, Fact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loom_runner import AgentRunner

__all__ = ["bring_up_to_date", "facts_of"]

_COMMANDS = {"run_command": "command", "look": "look", "do_by_hand": "by hand", "check": "check"}
_ENDED = frozenset({"completed", "failed", "cancelled", "parked"})


def bring_up_to_date(reader: AgentRunner, run_id: str, database: Path) -> AuditHead | None:
    """Write what happened to a run, and to its children, since the last time; return the head.

    Durability: it is on disk when this returns.
    """
    trail = AuditTrail(database)
    try:
        known = {entry.source for entry in trail.entries(run_id)}
        facts = [fact for fact in facts_of(reader, run_id) if fact.source not in known]
        trail.append(sorted(facts, key=lambda fact: fact.at))
        return trail.head()
    finally:
        trail.close()


def facts_of(reader: AgentRunner, run_id: str) -> Iterator[Fact]:
    """Tell all that a run's rows, and those of its children, say."""
    run = reader.get(run_id)
    request = run["input"].get("request", {})
    text = request.get("text", "")
    yield Fact(
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
    for child in (run, *reader.children(run_id)):
        yield from _decisions(reader, child["run_id"])
        role = child["run_id"].rpartition(":sub:")[2] if child is not run else "supervisor"
        if role != "verifier":
            yield from _calls(reader, child["run_id"], role)
        if child["status"] in _ENDED:
            yield Fact(
                f"{child['run_id']}/ended/{child['status']}",
                child["run_id"],
                child["updated_at"],
                "run.ended",
                role,
                {"status": child["status"], **_gist(role, child["result"] or {})},
            )


def _gist(role: str, result: dict[str, Any]) -> dict[str, Any]:
    names = {"planner": ("steps", "reason", "model"), "verifier": ("ok", "stopped")}
    return {name: result.get(name) for name in names.get(role, ("outcome", "why", "verified"))}


def _decisions(reader: AgentRunner, run_id: str) -> Iterator[Fact]:
    for approval in reader.approvals(run_id):
        source = f"{run_id}/approval/{approval['number']}"
        about = {"approval": approval["number"], "arguments_hash": approval["arguments_hash"]}
        about |= {name: approval["policy"].get(name) for name in ("step", "argv")}
        asked = {**about, "reason": approval["reason"], "needed": approval["needed"], "until": approval["expires_at"]}
        asked["group"] = approval["policy"].get("group")
        yield Fact(f"{source}/asked", run_id, approval["requested_at"], "approval.asked", "executor", asked)
        for number, decision in enumerate(approval["decisions"], 1):
            said = {**about, "how": decision["how"], "via": decision["via"], "note": decision["note"]}
            if decision["how"] == "edit":
                said["argv"] = approval["edited_arguments"].get("argv")
            yield Fact(f"{source}/decided/{number}", run_id, decision["at"], "approval.decided", decision["by"], said)
        if approval["status"] == "expired":
            yield Fact(f"{source}/expired", run_id, approval["expires_at"], "approval.expired", "time", about)


def _calls(reader: AgentRunner, run_id: str, role: str) -> Iterator[Fact]:
    for call in reader.tool_calls(run_id):
        if call["name"] not in _COMMANDS:
            continue
        kind = _COMMANDS[call["name"]]
        source = f"{run_id}/call/{call['step_index']}/{call['key']}"
        step = call["arguments"]
        about = {"step": step.get("id")} | ({"argv": step["argv"]} if "argv" in step else {})
        if kind == "command":
            yield Fact(f"{source}/started", run_id, call["started_at"], "command.started", role, about)
        if kind == "command" and call["status"] == "in doubt":
            yield Fact(f"{source}/doubt/{call['tries']}", run_id, call["started_at"], "command.in_doubt", role, about)
        if call["status"] in ("done", "failed"):
            result = call["result"] or {}
            error = (call["error"] or {}).get("message")
            said = {**about, "status": call["status"], "ok": result.get("ok"), "text": result.get("text") or error}
            said |= {name: result[name] for name in ("exit_code", "rule", "value", "expect") if name in result}
            if call["decided_by"] is not None:
                said["decided_by"] = call["decided_by"]
            at = call["started_at"]
            yield Fact(f"{source}/ended", run_id, at, f"{kind}.ended", role, said)
