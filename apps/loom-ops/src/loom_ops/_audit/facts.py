"""Derive the facts for the audit trail from the rows of a run.

Facts are derived from committed rows: the trail can be brought up to date at any time, from any
process, and deriving a fact again changes nothing. `compare` derives them again to verify the
trail. Each fact has its own time: a command has one for the start of each try and one for its end.

The names of facts (`source`) and their kinds are stored: keep them.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from loom_runner.run_ids import child_name

from loom_ops._audit.approval_facts import approval_facts, decision_source, final_argv, request_facts
from loom_ops._audit.derived import differences, fact_of, hash_of, with_earlier
from loom_ops._audit.trail import open_trail

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from loom_runner import Runs

    from loom_ops._audit.chain import AuditFact, AuditHead
    from loom_ops._audit.trail import AuditTrail

__all__ = ["audit_facts", "decisions_of_service", "is_request_recorded", "update_audit_trail"]

_KINDS: Final = {"run_command": "command", "look": "look", "do_by_hand": "by hand", "check": "check"}
"""For each tool the first part of the kinds of its entries. They are stored: keep them."""
_ENDED: Final = frozenset({"completed", "failed", "cancelled", "parked"})
_FINAL: Final = frozenset({"completed", "cancelled"})
"""Statuses that a run never leaves."""
_RESULT_MEMBERS: Final = {"planner": ("steps", "reason", "model"), "verifier": ("ok", "stopped")}


def update_audit_trail(runs: Runs, run_id: str, database: Path) -> AuditHead | None:
    """Record what happened to a run and its children since the last time; return the head.

    Durability: it is on disk when this returns.
    """
    with open_trail(database) as trail:
        recorded = trail.sources(run_id)
        by_service = decisions_of_service(runs, run_id)
        facts = [fact for fact in audit_facts(runs, run_id) if fact.source not in recorded | by_service]
        trail.append(sorted(facts, key=lambda fact: fact.at))
        return trail.head()


def is_request_recorded(runs: Runs, run_id: str, trail: AuditTrail) -> bool:
    """Return whether the request of a run is as the trail records it, or not recorded yet."""
    fact = _asked(runs.get(run_id))
    entry = trail.find(fact.source)
    forms = (fact, fact.earlier or fact)
    return entry is None or any(
        (entry.at, entry.actor) == (form.at, form.actor) and not differences(entry.content, form) for form in forms
    )


def decisions_of_service(runs: Runs, run_id: str) -> set[str]:
    """Return the sources of the decisions that the decision service recorded when it wrote them.

    One that is not in the trail was written by something else, and is not recorded afterwards.
    """
    found = set()
    for member in (run_id, *(child["run_id"] for child in runs.children(run_id))):
        for approval in runs.approvals(member):
            if approval["policy"].get("product"):
                found |= {
                    decision_source(approval, number)
                    for number, decision in enumerate(approval["decisions"], 1)
                    if (decision["by"], decision["how"]) != ("gate", "deny")
                }
    return found


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


def _asked(run: Mapping[str, Any]) -> AuditFact:
    request = run["input"].get("request", {})
    run_id = run["run_id"]
    content = {
        "incident": request.get("incident"),
        "runbook": request.get("source"),
        "runbook_sha256": sha256(request.get("text", "").encode()).hexdigest(),
        "inputs": request.get("inputs"),
        "drill": request.get("drill") is not None,
        "input_sha256": hash_of(run["input"]),
    }
    requester = str(request.get("requester", "?"))
    return fact_of(f"{run_id}/asked", (run_id, run["created_at"]), "run.asked", requester, content)


def _ended(run: Mapping[str, Any], role: str) -> AuditFact:
    result = run["result"] or {}
    names = _RESULT_MEMBERS.get(role, ("outcome", "why", "verified"))
    status, run_id = run["status"], run["run_id"]
    content = {"status": status, **{name: result.get(name) for name in names}, "result_sha256": hash_of(run["result"])}
    source = f"{run_id}/ended/{status}"
    if status not in _FINAL:  # it may be resumed, and fail again
        source += f"/{run['updated_at']}"
    return fact_of(source, (run_id, run["updated_at"]), "run.ended", role, content)


def _approvals(runs: Runs, run_id: str, role: str, calls: Sequence[Mapping[str, Any]]) -> Iterator[AuditFact]:
    starts = _starts(runs, run_id, calls)
    for approval in runs.approvals(run_id):
        yield from approval_facts(approval)
        source, about = f"{run_id}/approval/{approval['number']}", request_facts(approval) | final_argv(approval)
        repetitions = sum(decision["how"] == "retry" for decision in approval["decisions"])
        for number, at in enumerate(starts.get((approval["step_index"], approval["key"]), ()), 1):
            is_used = number <= repetitions or approval["status"] == "used"
            if is_used and (number == 1 or number <= repetitions + 1):
                suffix = "" if number == 1 else f"/{number}"
                yield fact_of(f"{source}/used{suffix}", (run_id, at), "approval.used", role, about)


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
        content = {**about, "try": number, "arguments_sha256": hash_of(step)}
        yield fact_of(f"{source}/started{suffix}", (run_id, started_at), "command.started", role, content)
    if kind == "command" and status == "in_doubt":
        fact = fact_of(f"{source}/doubt/{number}", (run_id, _last_alive(each)), "command.in_doubt", role, about)
        yield with_earlier(fact, at=started_at)
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
            name = f"{source}/resolved/{number}"
            yield fact_of(name, (run_id, ended_at), "call.resolved", call["decided_by"], resolved)
    content |= {"try": number, "result_sha256": hash_of([result, error])}
    fact = fact_of(f"{source}/ended{suffix}", (run_id, ended_at), f"{kind}.ended", role, content)
    yield with_earlier(fact, at=started_at)


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
    began = datetime.fromisoformat(call["started_at"])
    alive = began + timedelta(milliseconds=call.get("duration_ms") or 0)
    return alive.isoformat(timespec="microseconds").replace("+00:00", "Z")
