"""How an incident stands, in lines for a person: who does what, what waits, and what to type next."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from loom_runner.cli_base import duration, plural, styled_status

from loom_ops._reader import doubts_of
from loom_ops._rules import shown_argv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loom_runner import AgentRunner

__all__ = ["standing_lines"]


def standing_lines(rows: AgentRunner, run_id: str, *, command: Callable[..., str]) -> Iterator[str]:
    """Yield the lines."""
    run = rows.get(run_id)
    children = {child["run_id"].rpartition(":sub:")[2]: child for child in rows.children(run_id)}
    waiting = [
        row
        for row in rows.approvals(pending_only=True)
        if row["run_id"] == run_id or row["run_id"].startswith(f"{run_id}:sub:")
    ]
    doubts = [row for child in (run, *children.values()) for row in doubts_of(rows, child["run_id"])]
    result = run["result"] or {}
    head = (
        "waiting for approval"
        if waiting
        else "in doubt"
        if doubts
        else result.get("outcome") or styled_status(run["status"])
    )
    yield f"{run_id}  {head}"
    for role, child in children.items():
        yield f"  {role:<9}  {_role(role, child)}"
    if "why" in result:
        yield f"  {'why':<9}  {result['why']}"
    if run["error"] is not None:
        yield f"  {'error':<9}  {run['error']['message']}"
    for row in waiting:
        yield from _waiting(row)
    for row in doubts:
        step = row["arguments"]
        yield f"  {'in doubt':<9}  {row['id']}: {shown_argv(step.get('argv', [row['name']]))} was interrupted"
        yield f"  {'':<9}  look whether it was done, then: {_resolve(row['id'], command)}"
    if result.get("postmortem"):
        yield f"  {'draft':<9}  {result['postmortem']}"
    if waiting:
        which = () if len(waiting) == 1 else ("--number", "N")
        yield f"approve: {command('approve', run_id, *which)} --note ...    deny: {command('deny', run_id, *which)}"
    elif run["status"] not in ("completed", "cancelled"):
        yield f"go on: {command('resume', run_id)}"
    else:
        yield f"see it: {command('explain', run_id)}"


def _role(role: str, child: dict[str, Any]) -> str:
    state, result = child["state"], child["result"]
    status = {"waiting": "waiting", "completed": "done"}.get(child["status"], child["status"])
    if role == "planner" and result:
        return f"done       {plural(len(result['steps']), 'step')}: {', '.join(result['steps'])}"
    if role == "executor":
        if child["status"] == "completed":
            return f"done       {result['outcome']}"
        plan, position = state["plan"], state["position"]
        if state["phase"] == "back":
            return f"{status:<9}  takes back: {', '.join(state['undo'])}"
        step = plan[position] if position < len(plan) else "closing"
        return f"{status:<9}  {step}, step {min(position + 1, len(plan))} of {len(plan)}"
    if role == "verifier":
        looked = state["last"]
        broken = [report for report in looked if not report["ok"]]
        seen = broken[0]["text"] if broken else ", ".join(report["text"] for report in looked) or "has not looked yet"
        return f"{'watching' if child['status'] == 'waiting' else status:<9}  {seen}"
    return str(status)


def _waiting(row: dict[str, Any]) -> Iterator[str]:
    policy = row["policy"]
    if policy.get("argv"):
        undo = f"    undo: {shown_argv(policy['undo'])}" if policy.get("undo") else "    cannot be taken back"
        yield f"  {'what':<9}  {shown_argv(policy['argv'])}{undo}"
    yield f"  {'why':<9}  {row['reason']}"
    needed = row["needed"] - sum(decision["how"] == "approve" for decision in row["decisions"])
    group = f"{plural(needed, 'person')} of {policy.get('group')}" if needed > 1 else f"of {policy.get('group')}"
    yield f"  {'who':<9}  {group}{', not ' + policy['requester'] if policy.get('not_requester') else ''}"
    if row["expires_at"]:
        left = _left(row)
        yield f"  {'until':<9}  {row['expires_at'][11:16]} UTC ({left}), then denied"


def _left(row: dict[str, Any]) -> str:
    from datetime import UTC, datetime

    seconds = (datetime.fromisoformat(row["expires_at"]) - datetime.now(UTC)).total_seconds()
    return duration(max(0, round(seconds / 60)) * 60_000_000)


def _resolve(call: str, command: Callable[..., str]) -> str:
    run_id, _, number = call.rpartition("#")
    return f"{command('resolve', run_id, '--call', number)} --done | --retry | --skip" if run_id else shlex.quote(call)
