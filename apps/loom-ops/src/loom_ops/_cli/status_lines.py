"""The status of an incident as text: each role, the pending approvals, and the next command."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from loom_runner.cli_base import duration, plural, styled_status
from loom_runner.run_ids import child_name

from loom_ops._approvals.requests import decision_words
from loom_ops._commands.allow_rules import argv_text
from loom_ops._runs import commands_in_doubt, pending_approvals
from loom_ops._team.outcomes import outcome_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loom_agents.cli import Request
    from loom_runner import Runs

__all__ = ["status_lines"]


def status_lines(runs: Runs, run_id: str, *, command: Callable[..., str]) -> Iterator[str]:
    """Yield the lines.

    Args:
        command: Builds a command for a shell from a verb, a run id and further words.
    """
    run = runs.get(run_id)
    children = {child_name(child["run_id"]): child for child in runs.children(run_id)}
    waiting = pending_approvals(runs, run_id)
    doubts = [row for member in (run, *children.values()) for row in commands_in_doubt(runs, member["run_id"])]
    result = run["result"] or {}
    yield f"{run_id}  {_status(run, result, waiting=bool(waiting), in_doubt=bool(doubts))}"
    for role, child in children.items():
        yield f"  {role:<9}  {_role(role, child)}"
    if "why" in result:
        yield f"  {'why':<9}  {result['why']}"
    if run["error"] is not None:
        yield f"  {'error':<9}  {run['error']['message']}"
    for row in waiting:
        yield from _request(row)
    for row in doubts:
        argv = row["arguments"].get("argv", [row["name"]])
        yield f"  {'in doubt':<9}  {row['id']}: {argv_text(argv)} was interrupted"
        yield f"  {'':<9}  find out whether it was done, then: {_resolve(row['id'], command)}"
    if result.get("postmortem"):
        yield f"  {'draft':<9}  {result['postmortem']}"
    if waiting:
        for row in waiting:
            words = decision_words(row)
            yield f"approve: {command('approve', run_id, *words)} --note ...    deny: {command('deny', run_id, *words)}"
    elif run["status"] not in ("completed", "cancelled"):
        yield f"resume: {command('resume', run_id)}"
    else:
        yield f"details: {command('explain', run_id)}"


def _status(run: dict[str, Any], result: dict[str, Any], *, waiting: bool, in_doubt: bool) -> str:
    if waiting:
        return "waiting for approval"
    if in_doubt:
        return "in doubt"
    return outcome_text(result["outcome"]) if result.get("outcome") else styled_status(run["status"])


def _role(role: str, child: dict[str, Any]) -> str:
    state, result = child["state"], child["result"]
    status = {"completed": "done"}.get(child["status"], child["status"])
    if role == "planner" and result:
        return f"done       {plural(len(result['steps']), 'step')}: {', '.join(result['steps'])}"
    if role == "executor":
        if child["status"] == "completed":
            return f"done       {outcome_text(result['outcome'])}"
        plan, position = state["plan"], state["position"]
        if state["phase"] == "back":
            return f"{status:<9}  rolling back: {', '.join(state['undo'])}"
        step = plan[position] if position < len(plan) else "closing"
        return f"{status:<9}  {step}, step {min(position + 1, len(plan))} of {len(plan)}"
    if role == "verifier":
        reports = state["last"]
        failing = [report for report in reports if not report["ok"]]
        nothing = "no checks" if state["rounds"] else "no check yet"
        seen = failing[0]["text"] if failing else ", ".join(report["text"] for report in reports) or nothing
        return f"{'watching' if child['status'] == 'waiting' else status:<9}  {seen}"
    return str(status)


def _request(row: Request) -> Iterator[str]:
    policy = row["policy"]
    if policy.get("argv"):
        undo = f"    undo: {argv_text(policy['undo'])}" if policy.get("undo") else "    cannot be undone"
        yield f"  {'what':<9}  {argv_text(policy['argv'])}{undo}"
    yield f"  {'why':<9}  {row['reason']}"
    left, group = row["approvals_missing"], policy.get("group")
    people = f"{plural(left, 'person', 'people')} of {group}" if left > 1 else f"one of {group}"
    yield f"  {'who':<9}  {people}{', not ' + policy['requester'] if policy.get('not_requester') else ''}"
    if row["expires_at"]:
        yield f"  {'until':<9}  {row['expires_at'][11:16]} UTC ({_time_left(row)}), then denied"


def _time_left(row: Request) -> str:
    seconds = (datetime.fromisoformat(row["expires_at"]) - datetime.now(UTC)).total_seconds()
    return duration(max(0, round(seconds / 60)) * 60_000_000)


def _resolve(call: str, command: Callable[..., str]) -> str:
    run_id, _, number = call.rpartition("#")
    return f"{command('resolve', run_id, '--call', number)} --done | --retry | --skip"
