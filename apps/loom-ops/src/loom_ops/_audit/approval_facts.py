"""The facts of a request for an approval: it was requested, decided about, edited, or it expired.

An entry of each decision is written in the transaction of the decision. When the decisions are
used, `why_not_recorded` compares them with these entries.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from loom_ops._audit.derived import differences, fact_of, hash_of, with_earlier

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from loom_ops._audit.chain import AuditFact

__all__ = ["approval_facts", "decision_source", "final_argv", "request_facts", "why_not_recorded"]


def approval_facts(approval: Mapping[str, Any]) -> Iterator[AuditFact]:
    """Derive the facts of a request that its row alone shows: the request, then its decisions in
    order, then its end by time.

    Args:
        approval: As `Runs.approvals` returns it.
    """
    source, run_id = f"{approval['run_id']}/approval/{approval['number']}", approval["run_id"]
    about = request_facts(approval)
    policy = approval["policy"]
    requested = {
        **about,
        "reason": approval["reason"],
        "needed": approval["needed"],
        "until": approval["expires_at"],
        "group": policy.get("group"),
        "members": policy.get("members"),
        "requester": policy.get("requester"),
        "policy_sha256": hash_of(policy),
        "arguments_sha256": hash_of(approval["arguments"]),
        "request_step": [approval["step_index"], approval["tool"], approval["key"]],
    }
    at = approval["requested_at"]
    fact = fact_of(f"{source}/asked", (run_id, at), "approval.requested", "executor", requested)
    yield with_earlier(fact, kind="approval.asked")
    for number in range(1, len(approval["decisions"]) + 1):
        yield _decided(approval, number)
    if approval["status"] == "expired" and approval["expires_at"] is not None:
        yield fact_of(
            f"{source}/expired",
            (run_id, approval["expires_at"]),
            "approval.expired",
            "time",
            about | final_argv(approval),
        )


def why_not_recorded(db: Any, request: Mapping[str, Any]) -> str | None:
    """Return why a request and the decisions about it are not those that the trail records; None
    when they are.

    Args:
        db: A connection, in the transaction in which the decisions are used.
    """
    if not db.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'audit'").fetchone():
        return "there is no audit trail"
    for fact in approval_facts(request):
        if fact.kind == "approval.expired":
            continue
        row = db.execute("SELECT at, kind, actor, content FROM audit WHERE source = ?", (fact.source,)).fetchone()
        if row is None:
            return f"the audit trail has no {fact.kind} by {fact.actor} about it"
        if row[:3] != (fact.at, fact.kind, fact.actor) or differences(row[3], fact, request):
            return f"the entry {fact.source} of the audit trail says something else"
    return None


def decision_source(approval: Mapping[str, Any], number: int) -> str:
    return f"{approval['run_id']}/approval/{approval['number']}/decided/{number}"


def request_facts(approval: Mapping[str, Any]) -> dict[str, Any]:
    found = {"approval": approval["number"], "arguments_hash": approval["arguments_hash"]}
    return found | {name: approval["policy"].get(name) for name in ("step", "argv")}


def final_argv(approval: Mapping[str, Any], number: int | None = None) -> dict[str, Any]:
    """Return the command that a decision is about, or after all of them; empty if nothing was
    edited.

    Args:
        number: The number of the decision, from 1.
    """
    edited = approval["edited_arguments"]
    return {"argv": edited.get("argv")} if edited is not None and _has_edit(approval["decisions"][:number]) else {}


def _decided(approval: Mapping[str, Any], number: int) -> AuditFact:
    """Return the fact of a decision, which is the one of this number, from 1."""
    run_id, decision = approval["run_id"], approval["decisions"][number - 1]
    is_edit = decision["how"] == "edit"
    content = request_facts(approval) | {"how": decision["how"], "via": decision["via"], "note": decision["note"]}
    more = {name: value for name, value in decision.items() if name not in ("by", "at", *content) and value}
    edited = approval["edited_arguments"]
    is_last_edit = is_edit and not _has_edit(approval["decisions"][number:])
    if is_last_edit and edited is not None:
        more |= {"instead_of": content["argv"], "arguments_sha256": hash_of(edited)}
    content |= final_argv(approval, number)
    kind = {"edit": "approval.edited", "retry": "call.resolved"}.get(decision["how"], "approval.decided")
    at = (run_id, decision["at"])
    fact = fact_of(decision_source(approval, number), at, kind, decision["by"], {**content, **more})
    fact = with_earlier(fact, kind="approval.decided")
    if is_edit or fact.earlier is None:
        return fact
    earlier = {**fact.earlier.content, "argv": approval["policy"].get("argv")}  # version 1 kept the first one
    return replace(fact, earlier=replace(fact.earlier, content=earlier))


def _has_edit(decisions: Sequence[Mapping[str, Any]]) -> bool:
    return any(decision["how"] == "edit" for decision in decisions)
