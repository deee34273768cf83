"""The executor: runs the steps of a plan one by one, and undoes them when they do not help.

Theory of operation. One step of the runbook is one step of the run. Each is a managed tool call, so
it is recorded before it starts and after it ended, and a step that writes waits there for its
approval (see `_approvals/gate.py`).

A *remedy* is run only while something is broken: when every check passes before the first step that
writes, there is nothing to do; when every check passes after one, the rest is skipped. A *change*
is run only while every check passes: a check that fails before the first step that writes prevents
it, and one that fails afterwards starts the rollback.

Rollback. A step that was denied, expired or failed, a failing check, or the verifier (a signal
`stop`) starts the rollback: the `undo` of each step that wrote is run, the last first, each with
its own approval. An undo step that fails is reported, and the others follow.

A step that was requested alone ends the run. A remedy that does not help yet is then not rolled
back, because the requester may want the next step; a change whose checks fail afterwards is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from loom_runner import Complete, Continue, RunContext, ToolFailed

from loom_ops._runbook.model import Check, Run
from loom_ops._runbook.render import call_of_step, render_step
from loom_ops._team.states import ExecutorState, steps_to_undo

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from loom_ops._team.outcomes import Outcome

__all__ = ["STOP_SIGNAL", "executor_step"]

STOP_SIGNAL: Final = "stop"
_STATUS_OF_CATEGORY: Final = {"denied": "denied", "approval_expired": "expired"}

_Result = Continue[ExecutorState] | Complete[dict[str, Any]]


def executor_step(
    is_stopped: Callable[[str], bool], wake: Callable[[str, bool], Awaitable[None]]
) -> Callable[[ExecutorState, RunContext], Coroutine[Any, Any, _Result]]:
    """Return the executor's step.

    Args:
        is_stopped: Returns whether a run has received the signal `stop`.
        wake: Wakes the verifier of an executor's run, so that it checks again: now if it waits, or
            (True) also when it waits later.
    """

    async def execute(state: ExecutorState, ctx: RunContext) -> _Result:  # the name is stored
        await wake(ctx.run_id, False)
        if state.phase == "back":
            result = await _undo_next(state, ctx)
        elif is_stopped(ctx.run_id):
            result = _start_rollback(state, "stopped", "the verifier found a check that passed before and fails now")
        else:
            result = await _run_next(state, ctx)
        if isinstance(result, Complete):
            await wake(ctx.run_id, True)
        return result

    return execute


async def _run_next(state: ExecutorState, ctx: RunContext) -> _Result:
    if state.position == len(state.plan):
        return _end_of_plan(state)
    step = state.request.runbook.step(state.plan[state.position])
    if step.effect == "write" and not _has_written(state):
        verdict = _verdict_before_writing(state)
        if verdict is not None:
            return _complete(state, *verdict)
    report = await run_step(state, step.id, ctx)
    state = replace(state, position=state.position + 1, reports=(*state.reports, report))
    if isinstance(step, Check):
        return Continue(state)
    if not report["ok"]:
        return _start_rollback(state, _outcome_of(report), report["text"])
    return await _after_writing(state, ctx) if step.effect == "write" else Continue(state)


async def run_step(state: ExecutorState, step_id: str, ctx: RunContext) -> dict[str, Any]:
    """Run one step of the runbook and return its report; a step that fails does not raise."""
    runbook, values = state.request.runbook, state.request.values()
    step = render_step(runbook.step(step_id), values)
    tool, arguments = call_of_step(step, runbook, values)
    if isinstance(step, Check):
        return {**await ctx.call_tool(tool, **arguments), "kind": "check", "status": "done"}
    base = {"id": step.id, "kind": "run" if isinstance(step, Run) else "by_hand", "effect": step.effect}
    try:
        found = await ctx.call_tool(tool, **arguments)
    except ToolFailed as exc:
        status = _STATUS_OF_CATEGORY.get(exc.error_category, "failed")
        return {**base, "status": status, "ok": False, "text": exc.message}
    return {**found, **base, "status": "done" if found["ok"] else "failed"}


def _has_written(state: ExecutorState) -> bool:
    return any(report.get("effect") == "write" and report["ok"] for report in state.reports)


def _last_checks(state: ExecutorState) -> list[dict[str, Any]]:
    """Return the newest report of each check."""
    return list({report["id"]: report for report in state.reports if report["kind"] == "check"}.values())


def _verdict_before_writing(state: ExecutorState) -> tuple[Outcome, str] | None:
    """Return the outcome before the first write; None when the plan continues."""
    checks = _last_checks(state)
    failing = [report for report in checks if not report["ok"]]
    if state.request.runbook.kind == "change" and failing:
        return "not_started", f"{failing[0]['id']} fails: {failing[0]['text']}"
    if state.request.runbook.kind == "remedy" and checks and not failing:
        return "nothing_to_do", "every check passes"
    return None


async def _after_writing(state: ExecutorState, ctx: RunContext) -> _Result:
    """Run every check again after a step that wrote, and decide whether the plan continues."""
    for check in state.request.checks:
        report = await run_step(state, check.id, ctx)
        state = replace(state, reports=(*state.reports, report))
    checks = _last_checks(state)
    failing = [report for report in checks if not report["ok"]]
    if state.request.runbook.kind == "change":
        if failing:
            return _start_rollback(state, "failed", f"{failing[0]['id']}: {failing[0]['text']}")
        return Continue(state)
    if checks and not failing:
        return _complete(state, "recovered", "every check passes again")
    return Continue(state)


def _end_of_plan(state: ExecutorState) -> _Result:
    """End a plan after its last step."""
    if state.is_alone:
        return _complete(state, "done", "the step was run")
    if not _has_written(state):
        verdict = _verdict_before_writing(state)
        return _complete(state, *(verdict or ("done", "every step was run")))
    failing = [report for report in _last_checks(state) if not report["ok"]]
    if failing:
        return _start_rollback(state, "not_recovered", f"{failing[0]['id']}: {failing[0]['text']}")
    return _complete(state, "done", "every step was run")


# ---------------------------------------------------------------------- rollback


def _start_rollback(state: ExecutorState, outcome: Outcome, why: str) -> _Result:
    undo = steps_to_undo(state.request.runbook, state.reports)
    if not undo:
        return _complete(state, outcome, why)
    return Continue(replace(state, phase="back", undo=undo, ends_as=outcome, why=why))


async def _undo_next(state: ExecutorState, ctx: RunContext) -> _Result:
    if not state.undo:
        return _end_of_rollback(state)
    report = {**await run_step(state, state.undo[0], ctx), "takes_back": True}
    return Continue(replace(state, undo=state.undo[1:], reports=(*state.reports, report)))


def _end_of_rollback(state: ExecutorState) -> _Result:
    failed = [report for report in state.reports if report.get("takes_back") and not report["ok"]]
    if state.ends_as == "rolled_back" and failed:
        return _complete(state, _outcome_of(failed[0]), f"{failed[0]['id']}: {failed[0]['text']}")
    return _complete(state, state.ends_as or "failed", state.why)


def _outcome_of(report: dict[str, Any]) -> Outcome:
    """Return the outcome that a failed step leads to."""
    return "denied" if report["status"] in ("denied", "expired") else "failed"


def _complete(state: ExecutorState, outcome: Outcome, why: str) -> Complete[dict[str, Any]]:
    return Complete({"outcome": outcome, "why": why, "steps": list(state.reports)})
