"""The executor: makes the steps of a plan one by one, and takes them back when they do not help.

Theory of operation. One step of the runbook is one step of the run. What a step does is a managed tool call, so it is
on record before it starts and after it ended, and a step that writes waits for its approval there (see `_team`).

A *remedy* is made only while something is broken: when every check holds before the first step that writes, there is
nothing to do; when every check holds after one, the rest is left out. A *change* is made only while everything is
well: a check that fails before the first step that writes stops it, and one that fails afterwards takes it back.

Going back. A step that was denied, expired or failed, a check that says so, or the verifier's word (a signal `stop`)
turns the executor round: the `undo` of each step that wrote is made, the last first, each with an approval of its
own. Whatever cannot be taken back is reported and the rest goes on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from loom_runner import Complete, Continue, RunContext, ToolFailed

from loom_ops._render import rendered, step_json
from loom_ops._runbook import Check, Run
from loom_ops._states import Executing, Outcome, undo_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

__all__ = ["STOP_SIGNAL", "executor_step"]

STOP_SIGNAL: Final = "stop"
_REFUSED: Final = {"denied": "denied", "approval_expired": "expired"}

_Result = Continue[Executing] | Complete[dict[str, Any]]


def executor_step(
    is_stopped: Callable[[str], bool], wake: Callable[[str, bool], Awaitable[None]]
) -> Callable[[Executing, RunContext], Coroutine[Any, Any, _Result]]:
    """Return the executor's step.

    Args:
        is_stopped: Tells whether a run has the signal `stop`.
        wake: Lets the verifier of an executor's run look again: now if it waits, or (True) whenever it comes to wait.
    """

    async def execute(state: Executing, ctx: RunContext) -> _Result:
        await wake(ctx.run_id, False)
        if state.phase == "back":
            came_to = await _back(state, ctx)
        elif is_stopped(ctx.run_id):
            came_to = _turned(state, "stopped", "the verifier saw it get worse")
        else:
            came_to = await _forward(state, ctx)
        if isinstance(came_to, Complete):
            await wake(ctx.run_id, True)
        return came_to

    return execute


async def _forward(state: Executing, ctx: RunContext) -> _Result:
    if state.position == len(state.plan):
        return _closing(state)
    step = state.request.runbook.step(state.plan[state.position])
    if step.effect == "write" and not _has_written(state):
        verdict = _before_writing(state)
        if verdict is not None:
            return _ended(state, *verdict)
    report = await _made(state, step.id, ctx)
    state = replace(state, position=state.position + 1, reports=(*state.reports, report))
    if isinstance(step, Check):
        return Continue(state)
    if not report["ok"]:
        outcome: Outcome = "denied" if report["status"] in ("denied", "expired") else "failed"
        return _turned(state, outcome, report["text"])
    return await _after_writing(state, ctx) if step.effect == "write" else Continue(state)


async def _made(state: Executing, step_id: str, ctx: RunContext) -> dict[str, Any]:
    """Make one step and report it; nothing that a step does raises."""
    runbook, values = state.request.runbook, state.request.values()
    step = rendered(runbook.step(step_id), values)
    if isinstance(step, Check):
        return {**await ctx.call_tool("check", **step_json(step)), "kind": "check", "status": "done"}
    base = {"id": step.id, "kind": "run" if isinstance(step, Run) else "by hand", "effect": step.effect}
    try:
        if isinstance(step, Run):
            asked = step_json(step, runbook, values)
            found = await ctx.call_tool("run_command" if step.effect == "write" else "look", **asked)
        else:
            found = await ctx.call_tool("do_by_hand", id=step.id, text=step.text)
    except ToolFailed as exc:
        status = _REFUSED.get(exc.error_category, "failed")
        return {**base, "status": status, "ok": False, "text": exc.message}
    return {**found, **base, "status": "done" if found["ok"] else "failed"}


def _has_written(state: Executing) -> bool:
    return any(report.get("effect") == "write" and report["ok"] for report in state.reports)


def _last_checks(state: Executing) -> list[dict[str, Any]]:
    """Return the newest report of each check."""
    return list({report["id"]: report for report in state.reports if report["kind"] == "check"}.values())


def _before_writing(state: Executing) -> tuple[Outcome, str] | None:
    """Say how it ends before anything was written; None when it goes on."""
    checks = _last_checks(state)
    broken = [report for report in checks if not report["ok"]]
    if state.request.runbook.kind == "change" and broken:
        return "not begun", f"{broken[0]['id']} does not hold: {broken[0]['text']}"
    if state.request.runbook.kind == "remedy" and checks and not broken:
        return "nothing to do", "every check holds"
    return None


async def _after_writing(state: Executing, ctx: RunContext) -> _Result:
    """Make every check again after a step that wrote, and decide whether to go on."""
    state = await _looked(state, ctx)
    broken = [report for report in _last_checks(state) if not report["ok"]]
    if state.request.runbook.kind == "change":
        return _turned(state, "failed", f"{broken[0]['id']}: {broken[0]['text']}") if broken else Continue(state)
    if _last_checks(state) and not broken:
        return _ended(state, "recovered", "every check holds again")
    return Continue(state)


async def _looked(state: Executing, ctx: RunContext) -> Executing:
    for check in state.request.checks:
        report = await _made(state, check.id, ctx)
        state = replace(state, reports=(*state.reports, report))
    return state


def _closing(state: Executing) -> _Result:
    """End a plan of which every step was made."""
    if not _has_written(state):
        verdict = _before_writing(state)
        return _ended(state, *(verdict or ("done", "every step was made")))
    broken = [report for report in _last_checks(state) if not report["ok"]]
    if broken:
        return _turned(state, "not recovered", f"{broken[0]['id']}: {broken[0]['text']}")
    return _ended(state, "done", "every step was made")


# ---------------------------------------------------------------------- back


def _turned(state: Executing, outcome: Outcome, why: str) -> _Result:
    """Turn round: what was written is to be taken back, the last first."""
    undo = undo_of(state.request.runbook, state.reports)
    if not undo:
        return _ended(state, outcome, why)
    return Continue(replace(state, phase="back", undo=undo, ends_as=outcome, why=why))


async def _back(state: Executing, ctx: RunContext) -> _Result:
    if not state.undo:
        return _ended(state, state.ends_as or "failed", state.why)
    report = {**await _made(state, state.undo[0], ctx), "takes_back": True}
    return Continue(replace(state, undo=state.undo[1:], reports=(*state.reports, report)))


def _ended(state: Executing, outcome: Outcome, why: str) -> Complete[dict[str, Any]]:
    return Complete({"outcome": outcome, "why": why, "steps": list(state.reports)})
