"""The rows of a run as plain data: a step that runs alone, the status of any run, what waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast, get_args

from loom_runner.cli_base import plural
from loom_runner.run_ids import child_run_id

from loom_ops._approvals.people import bound_person, objection
from loom_ops._approvals.requests import decision_words, edit_lines, final_text
from loom_ops._incidents.results import PendingApproval, RunStatus, StepReport, StepRun, StepStatus
from loom_ops._runbook.catalog import runbook_name
from loom_ops._runbook.parse import require_runbook
from loom_ops._runs import EXECUTOR, commands_in_doubt, pending_approvals
from loom_ops._team.outcomes import current_outcome
from loom_ops._team.states import steps_to_undo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loom_agents.cli import Request
    from loom_runner import Runs

    from loom_ops._approvals.people import Person

__all__ = ["MAX_OUTPUT_CHARACTERS", "pending_approval", "run_status_of", "step_run_of"]

MAX_OUTPUT_CHARACTERS: Final = 4_000
_CATEGORIES: Final = ("tampered",)


def pending_approval(
    request: Request, person: Person, command: Callable[..., str], *, may_approve: bool = True
) -> PendingApproval:
    """Return what waits, as one person sees it.

    Args:
        command: Builds a command for a shell from a verb, a run id and further words.
        may_approve: Whether the person's interface lets them decide at all.
    """
    policy = request["policy"]
    final = request["edited_arguments"] or request["arguments"]
    why_not = _why_not(request, person)
    if not why_not and not may_approve:
        why_not = f"{person} may not approve through this interface"
    words = decision_words(request)
    return PendingApproval(
        run_id=request["run_id"],
        number=request["number"],
        hash=request["final_hash"],
        step=str(policy.get("step", "")),
        what=final_text(request),
        argv=[str(word) for word in final.get("argv") or ()],
        undo=[str(word) for word in policy.get("undo") or ()],
        reason=request["reason"],
        edits=edit_lines(request),
        group=str(policy.get("group", "")),
        members=list(policy.get("members", ())),
        missing=request["approvals_missing"],
        not_requester=bool(policy.get("not_requester")),
        requester=str(policy.get("requester", "")),
        expires_at=request["expires_at"] or "",
        you_may_approve=not why_not,
        why_not=why_not,
        approve=command("approve", request["run_id"], *words),
        deny=command("deny", request["run_id"], *words),
    )


def _why_not(request: Request, person: Person) -> str:
    """Return why a person may not approve a request now; "" when they may."""
    policy = request["policy"]
    why = objection(person, policy)
    if why is not None:
        return why
    if policy.get("sign") == "required":
        return "an approval must be signed, which needs the private key of the person: use the command line"
    decisions = request["decisions"]
    proposals = [index for index, each in enumerate(decisions) if each["how"] in ("edit", "retry")]
    current = decisions[proposals[-1] if proposals else 0 :]
    if any(each["by"] == bound_person(person, policy).name for each in current):
        left = plural(request["approvals_missing"], "more person", "more people")
        return f"{person} has decided already; {left} must approve"
    return ""


def step_run_of(runs: Runs, run_id: str, person: Person, command: Callable[..., str], *, may_approve: bool) -> StepRun:
    """Return the state of a run that performs one step."""
    run = runs.get(run_id)
    request, plan = run["input"]["request"], run["input"]["plan"]
    step, reports = plan[-1], _reports(run)
    own = next((each for each in reversed(reports) if each["id"] == step and not each.get("takes_back")), None)
    waiting = [
        pending_approval(each, person, command, may_approve=may_approve) for each in pending_approvals(runs, run_id)
    ]
    doubts = commands_in_doubt(runs, run_id)
    status, text = _step_status(run, own, is_waiting=bool(waiting), in_doubt=bool(doubts))
    found = own or {}
    return StepRun(
        run_id=run_id,
        runbook=runbook_name(request["source"]),
        step=step,
        status=status,
        text=text,
        argv=[str(word) for word in found.get("argv") or (waiting[0].argv if waiting else ())],
        exit_code=found.get("exit_code"),
        output=_tail(found.get("output", "")),
        steps=[_report(each) for each in reports],
        approvals=waiting,
        next=_next(run, status, doubts, waiting, command),
    )


def _step_status(
    run: Mapping[str, Any], own: Mapping[str, Any] | None, *, is_waiting: bool, in_doubt: bool
) -> tuple[StepStatus, str]:
    if is_waiting:
        return "pending_approval", "waits for approval"
    if in_doubt:
        return "in_doubt", "the command was interrupted, and it is not known whether it was done"
    if run["status"] == "completed":
        why = str(run["result"]["why"])
        if own is None:
            return "not_started", why
        if current_outcome(run["result"]["outcome"]) == "failed" and own["ok"]:
            return "failed", why
        return _status_of_report(own), str(own["text"])
    if run["status"] in ("failed", "parked"):
        error = run["error"] or {}
        category = error.get("category")
        return ("tampered" if category in _CATEGORIES else "failed"), str(error.get("message", run["status"]))
    if run["status"] == "cancelled":
        return "cancelled", "the run was cancelled"
    if run["held_by"] is not None:
        return "running", f"process {run['held_by']['pid']} works on it"
    return "interrupted", "the process that worked on it has ended"


def _status_of_report(report: Mapping[str, Any]) -> StepStatus:
    if report["status"] == "done":
        return "done" if report["ok"] else "failed"
    return cast("StepStatus", report["status"] if report["status"] in get_args(StepStatus) else "failed")


def _next(
    run: Mapping[str, Any],
    status: StepStatus,
    doubts: list[dict[str, Any]],
    waiting: list[PendingApproval],
    command: Callable[..., str],
) -> list[str]:
    run_id = run["run_id"]
    again = f"call execute_runbook_step again with run_id {run_id!r}, or run: {command('resume', run_id)}"
    if status == "pending_approval":
        lines = []
        for each in waiting:
            people = [name for name in each.members if not (each.not_requester and name == each.requester)]
            who = f"{plural(each.missing, 'person', 'people')} of {each.group}"
            lines.append(f"{who} must approve ({', '.join(people) or 'nobody can'}): {each.approve}")
            lines.append(f"to deny it: {each.deny}")
        return [*lines, f"then {again}"]
    if status == "in_doubt":
        numbers = [call["id"].rpartition("#")[2] for call in doubts]
        return [
            "find out whether the command was done; it is not repeated",
            *(f"{command('resolve', run_id, '--call', each)} --done | --retry | --skip" for each in numbers),
            f"then {again}",
        ]
    if status in ("interrupted", "running"):
        return [again]
    if status == "tampered":
        return ["look at it: loom-ops audit verify"]
    request = run["input"]["request"]
    can_undo = steps_to_undo(require_runbook(request["text"], request["source"]), _reports(run))
    return [f"to undo it: {command('rollback', run_id)}"] if can_undo else []


def run_status_of(
    runs: Runs, run_id: str, person: Person, command: Callable[..., str], lines: list[str], *, may_approve: bool
) -> RunStatus:
    """Return the status of a run of loom-ops: of an incident, a step, a rollback or a member of a
    team.
    """
    run = runs.get(run_id)
    request = run["input"].get("request") or {}
    result = run["result"] if isinstance(run["result"], dict) else {}
    executor = run if run["program"] == EXECUTOR else runs.find(child_run_id(run_id, "executor"))
    waiting = pending_approvals(runs, run_id)
    outcome = current_outcome(result["outcome"]) if result.get("outcome") else ""
    return RunStatus(
        run_id=run_id,
        status="pending_approval" if waiting else run["status"],
        outcome=outcome,
        why=str(result.get("why", "") or (run["error"] or {}).get("message", "")),
        incident=str(request.get("incident", "")),
        runbook=runbook_name(str(request.get("source", ""))),
        requester=str(request.get("requester", "")),
        updated_at=run["updated_at"],
        steps=[] if executor is None else [_report(each) for each in _reports(executor)],
        approvals=[pending_approval(each, person, command, may_approve=may_approve) for each in waiting],
        lines=lines,
    )


def _reports(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    result = run["result"] if isinstance(run["result"], dict) else {}
    return list(result.get("steps") or (run["state"] or {}).get("reports") or ())


def _report(report: Mapping[str, Any]) -> StepReport:
    return StepReport(
        id=report["id"],
        kind=report["kind"],
        status=report["status"],
        ok=bool(report["ok"]),
        undoes=bool(report.get("takes_back")),
        text=str(report["text"]),
        exit_code=report.get("exit_code"),
        output=_tail(report.get("output", "")),
    )


def _tail(output: str) -> str:
    """Return the end of an output."""
    if len(output) <= MAX_OUTPUT_CHARACTERS:
        return output
    return f"[{len(output) - MAX_OUTPUT_CHARACTERS} characters before this]\n{output[-MAX_OUTPUT_CHARACTERS:]}"
