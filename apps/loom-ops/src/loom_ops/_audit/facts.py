"""Derive the facts for the audit trail from the rows of a run.

Facts are derived from committed rows: the trail can be brought up to date at any time, from any
process, and deriving a fact again changes nothing. `compare` derives them again to verify the
trail. Each fact has its own time: a command has one for the start of each try and one for its end.

The names of facts (`source`) and their kinds are stored. Version 1 gave the end of a call the time
of its start, and called a request `approval.asked` and an edit `approval.decided`; `earlier` is the
fact in that form.
"""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from loom_runner.run_ids import child_name

from loom_ops._audit.chain import AuditFact
from loom_ops._audit.trail import open_trail

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from loom_runner import Runs

    from loom_ops._audit.chain import AuditHead

__all__ = [
    "approval_facts",
    "audit_facts",
    "decisions_of_service",
    "differences",
    "update_audit_trail",
    "why_not_recorded",
]

_KINDS: Final = {"run_command": "command", "look": "look", "do_by_hand": "by hand", "check": "check"}
"""For each tool the first part of the kinds of its entries. They are stored: keep them."""
_ENDED: Final = frozenset({"completed", "failed", "cancelled", "parked"})
_FINAL: Final = frozenset({"completed", "cancelled"})
"""Statuses that a run never leaves."""
_RESULT_MEMBERS: Final = {"planner": ("steps", "reason", "model"), "verifier": ("ok", "stopped")}
_ADDED: Final = frozenset(
    {
        "try",
        "input_sha256",
        "policy_sha256",
        "arguments_sha256",
        "result_sha256",
        "request_step",
        "members",
        "requester",
        "of",
        "signature",
        "instead_of",
    }
)
"""Members of a content that version 1 did not write."""


def update_audit_trail(runs: Runs, run_id: str, database: Path) -> AuditHead | None:
    """Record what happened to a run and its children since the last time; return the head.

    Durability: it is on disk when this returns.
    """
    with open_trail(database) as trail:
        recorded = {entry.source for entry in trail.entries(run_id)}
        by_service = decisions_of_service(runs, run_id)
        facts = [fact for fact in audit_facts(runs, run_id) if fact.source not in recorded | by_service]
        trail.append(sorted(facts, key=lambda fact: fact.at))
        return trail.head()


def decisions_of_service(runs: Runs, run_id: str) -> set[str]:
    """Return the sources of the decisions that the decision service recorded when it wrote them.

    One that is not in the trail was written by something else, and is not recorded afterwards.
    """
    found = set()
    for member in (run_id, *(child["run_id"] for child in runs.children(run_id))):
        for approval in runs.approvals(member):
            if approval["policy"].get("product"):
                found |= {
                    _decision_source(approval, number)
                    for number, decision in enumerate(approval["decisions"], 1)
                    if (decision["by"], decision["how"]) != ("gate", "deny")
                }
    return found


def approval_facts(approval: Mapping[str, Any]) -> Iterator[AuditFact]:
    """Derive the facts of a request that its row alone shows: the request, then its decisions in
    order, then its end by time.

    Args:
        approval: As `Runs.approvals` returns it.
    """
    source, run_id = f"{approval['run_id']}/approval/{approval['number']}", approval["run_id"]
    about = _request_facts(approval)
    policy = approval["policy"]
    requested = {
        **about,
        "reason": approval["reason"],
        "needed": approval["needed"],
        "until": approval["expires_at"],
        "group": policy.get("group"),
        "members": policy.get("members"),
        "requester": policy.get("requester"),
        "policy_sha256": _sha256(policy),
        "arguments_sha256": _sha256(approval["arguments"]),
        "request_step": [approval["step_index"], approval["tool"], approval["key"]],
    }
    at = approval["requested_at"]
    yield _fact(
        f"{source}/asked", run_id, at, "approval.requested", "executor", requested, earlier_kind="approval.asked"
    )
    for number in range(1, len(approval["decisions"]) + 1):
        yield _decided(approval, number)
    if approval["status"] == "expired" and approval["expires_at"] is not None:
        yield _fact(f"{source}/expired", run_id, approval["expires_at"], "approval.expired", "time", about)


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


def differences(content: str, fact: AuditFact, request: Mapping[str, Any] | None = None) -> list[str]:
    """Return the names of the members in which a recorded content differs from a fact.

    Args:
        request: The request that the fact is about. A later edit or repetition has replaced some of
            its members.
    """
    try:
        recorded = json.loads(content)
    except (ValueError, RecursionError):
        return ["content"]
    if not isinstance(recorded, dict):
        return ["content"]
    replaced: set[str] = set()
    if request is not None:
        later = [decision["how"] for decision in request["decisions"]]
        if "edit" in later and fact.kind == "approval.edited":
            number = int(fact.source.rpartition("/")[2])
            replaced |= {"argv", "arguments_sha256", "instead_of"} if "edit" in later[number:] else set()
        if "retry" in later and fact.kind == "approval.requested":
            replaced.add("until")
    expected = json.loads(json.dumps(dict(fact.content)))
    names = (recorded.keys() | expected.keys()) - replaced
    missing = object()
    return sorted(name for name in names if recorded.get(name, missing) != expected.get(name, missing))


def audit_facts(runs: Runs, run_id: str) -> Iterator[AuditFact]:
    """Derive all facts from the rows of a run and its children."""
    run = runs.get(run_id)
    yield _asked(run)
    for member in (run, *runs.children(run_id)):
        role = "supervisor" if member is run else child_name(member["run_id"])
        calls = runs.tool_calls(member["run_id"])
        yield from _approvals(runs, member["run_id"], role, calls)
        if role != "verifier":
            yield from _calls(runs, member["run_id"], role, calls)
        if member["status"] in _ENDED:
            yield _ended(member, role)


def _decided(approval: Mapping[str, Any], number: int) -> AuditFact:
    """Return the fact of a decision, which is the one of this number, from 1."""
    run_id, decision = approval["run_id"], approval["decisions"][number - 1]
    is_edit = decision["how"] == "edit"
    content = _request_facts(approval) | {"how": decision["how"], "via": decision["via"], "note": decision["note"]}
    more = {name: value for name, value in decision.items() if name not in ("by", "at", *content) and value}
    edited = approval["edited_arguments"]
    is_last_edit = is_edit and not any(later["how"] == "edit" for later in approval["decisions"][number:])
    if is_last_edit and edited is not None:
        content |= {"argv": edited.get("argv"), "instead_of": approval["policy"].get("argv")}
        more["arguments_sha256"] = _sha256(edited)
    return _fact(
        _decision_source(approval, number),
        run_id,
        decision["at"],
        {"edit": "approval.edited", "retry": "call.resolved"}.get(decision["how"], "approval.decided"),
        decision["by"],
        {**content, **more},
        earlier_kind="approval.decided",
    )


def _decision_source(approval: Mapping[str, Any], number: int) -> str:
    return f"{approval['run_id']}/approval/{approval['number']}/decided/{number}"


def _asked(run: Mapping[str, Any]) -> AuditFact:
    request = run["input"].get("request", {})
    run_id = run["run_id"]
    content = {
        "incident": request.get("incident"),
        "runbook": request.get("source"),
        "runbook_sha256": sha256(request.get("text", "").encode()).hexdigest(),
        "inputs": request.get("inputs"),
        "drill": request.get("drill") is not None,
        "input_sha256": _sha256(run["input"]),
    }
    requester = str(request.get("requester", "?"))
    return _fact(f"{run_id}/asked", run_id, run["created_at"], "run.asked", requester, content)


def _ended(run: Mapping[str, Any], role: str) -> AuditFact:
    result = run["result"] or {}
    names = _RESULT_MEMBERS.get(role, ("outcome", "why", "verified"))
    status, run_id = run["status"], run["run_id"]
    content = {"status": status, **{name: result.get(name) for name in names}, "result_sha256": _sha256(run["result"])}
    source = f"{run_id}/ended/{status}"
    if status not in _FINAL:  # it may be resumed, and fail again
        source += f"/{run['updated_at']}"
    return _fact(source, run_id, run["updated_at"], "run.ended", role, content)


def _request_facts(approval: Mapping[str, Any]) -> dict[str, Any]:
    found = {"approval": approval["number"], "arguments_hash": approval["arguments_hash"]}
    return found | {name: approval["policy"].get(name) for name in ("step", "argv")}


def _approvals(runs: Runs, run_id: str, role: str, calls: Sequence[Mapping[str, Any]]) -> Iterator[AuditFact]:
    starts = _starts(runs, run_id, calls)
    for approval in runs.approvals(run_id):
        yield from approval_facts(approval)
        source, about = f"{run_id}/approval/{approval['number']}", _request_facts(approval)
        repetitions = sum(decision["how"] == "retry" for decision in approval["decisions"])
        for number, at in enumerate(starts.get((approval["step_index"], approval["key"]), ()), 1):
            is_used = number <= repetitions or approval["status"] == "used"
            if is_used and (number == 1 or number <= repetitions + 1):
                suffix = "" if number == 1 else f"/{number}"
                yield _fact(f"{source}/used{suffix}", run_id, at, "approval.used", role, about)


def _starts(runs: Runs, run_id: str, calls: Sequence[Mapping[str, Any]]) -> dict[tuple[int, str], list[str]]:
    """Return the times at which each call was started, by step and key."""
    tries: dict[str, list[str]] = {}
    for earlier in runs.tool_tries(run_id):
        tries.setdefault(earlier["id"], []).append(earlier["started_at"])
    return {(call["step_index"], call["key"]): [*tries.get(call["id"], ()), call["started_at"]] for call in calls}


def _calls(runs: Runs, run_id: str, role: str, calls: Sequence[Mapping[str, Any]]) -> Iterator[AuditFact]:
    tries: dict[str, list[Mapping[str, Any]]] = {}
    for earlier in runs.tool_tries(run_id):
        tries.setdefault(earlier["id"], []).append(earlier)
    for call in calls:
        if call["name"] not in _KINDS:
            continue
        earlier_tries = tries.get(call["id"], [])
        for number, each in enumerate((*earlier_tries, {**call, "try": len(earlier_tries) + 1}), 1):
            yield from _try(call, each, number, role, was_repeated=any(e["status"] == "retry" for e in earlier_tries))


def _try(
    call: Mapping[str, Any], each: Mapping[str, Any], number: int, role: str, *, was_repeated: bool
) -> Iterator[AuditFact]:
    """Derive the facts of one try of a call; the last one is the row of the call itself."""
    run_id, step, kind = call["run_id"], call["arguments"], _KINDS[call["name"]]
    source = f"{run_id}/call/{call['step_index']}/{call['key']}"
    is_last = number == call["tries"]
    suffix = "" if number == 1 else f"/{number}"
    about = {"step": step.get("id")} | ({"argv": step["argv"]} if "argv" in step else {})
    started_at, status = each["started_at"], each["status"]
    if kind == "command":
        content = {**about, "try": number, "arguments_sha256": _sha256(step)}
        yield _fact(f"{source}/started{suffix}", run_id, started_at, "command.started", role, content)
    if kind == "command" and status == "in_doubt":
        yield _fact(f"{source}/doubt/{number}", run_id, _last_alive(each), "command.in_doubt", role, about, started_at)
    if status not in ("done", "failed"):
        return
    ended_at = each["ended_at"] or started_at
    result = (each.get("result") or {}) if is_last else {}
    error = each["error"] or {}
    content = {**about, "status": status, "ok": result.get("ok"), "text": result.get("text") or error.get("message")}
    content |= {name: result[name] for name in ("exit_code", "rule", "value", "expect") if name in result}
    if is_last and call["decided_by"] is not None:
        content["decided_by"] = call["decided_by"]
        how = _how_resolved(result, error, was_repeated=was_repeated)
        if how is not None:
            resolved = {**about, "how": how, "try": number}
            yield _fact(f"{source}/resolved/{number}", run_id, ended_at, "call.resolved", call["decided_by"], resolved)
    content |= {"try": number, "result_sha256": _sha256([result, error])}
    yield _fact(f"{source}/ended{suffix}", run_id, ended_at, f"{kind}.ended", role, content, started_at)


def _how_resolved(result: Mapping[str, Any], error: Mapping[str, Any], *, was_repeated: bool) -> str | None:
    """Return how a person resolved the try that a row ends with; None when its process ended it.

    The person that a row names may have had an earlier try repeated. What a process records has the
    rule that allowed the command; what a person records has not.
    """
    if error.get("category") == "skipped":
        return "skip"
    if error or (was_repeated and "rule" in result):
        return None
    return "result"


def _last_alive(call: Mapping[str, Any]) -> str:
    from datetime import datetime, timedelta

    began = datetime.fromisoformat(call["started_at"])
    alive = began + timedelta(milliseconds=call.get("duration_ms") or 0)
    return alive.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _fact(
    source: str,
    run_id: str,
    at: str,
    kind: str,
    actor: str,
    content: Mapping[str, Any],
    earlier_at: str | None = None,
    *,
    earlier_kind: str | None = None,
) -> AuditFact:
    fact = AuditFact(source, run_id, at, kind, actor, content)
    first = {name: value for name, value in content.items() if name not in _ADDED}
    return replace(fact, earlier=AuditFact(source, run_id, earlier_at or at, earlier_kind or kind, actor, first))


def _sha256(value: object) -> str:
    return sha256(json.dumps(value, ensure_ascii=False, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()
