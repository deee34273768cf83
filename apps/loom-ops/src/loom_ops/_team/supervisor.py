"""The supervisor: starts the planner, then executor and verifier in parallel, then finishes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from loom_runner import Child, Complete, Fail, RunContext, Spawn
from loom_runner.run_ids import child_run_id

from loom_ops._team.outcomes import GOOD, current_outcome
from loom_ops._team.states import ExecutorState, PlannerState, SupervisorState, VerifierState

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from loom_runner import ChildResult

__all__ = ["supervisor_step"]

_ROLLBACK_HINT: Final = "loom-ops rollback can undo what it had done"

_Result = Spawn[SupervisorState] | Complete[dict[str, Any]] | Fail


def supervisor_step() -> Callable[[SupervisorState, RunContext], Coroutine[Any, Any, _Result]]:
    """Return the supervisor's step."""

    async def supervise(state: SupervisorState, ctx: RunContext) -> _Result:  # the name is stored
        if state.phase == "plan":
            planner = Child("planner", PlannerState(state.request, state.known), program="planner")
            return Spawn(replace(state, phase="act"), [planner])
        if state.phase == "act":
            planned = ctx.children["planner"]
            if planned.status != "completed":
                return Fail(f"there is no plan: {_why(planned)}", "planner")
            plan, reason = tuple(planned.result["steps"]), planned.result["reason"]
            executor = Child("executor", ExecutorState(state.request, plan), program="executor")
            watching = VerifierState(state.request, executor=child_run_id(ctx.run_id, "executor"))
            verifier = Child("verifier", watching, program="verifier")
            return Spawn(replace(state, phase="close", plan=plan, reason=reason), [executor, verifier])
        return await _close(state, ctx)

    return supervise


async def _close(state: SupervisorState, ctx: RunContext) -> Complete[dict[str, Any]] | Fail:
    executor, verifier = ctx.children["executor"], ctx.children["verifier"]
    if executor.error is not None and executor.error.category == "tampered":
        return Fail(executor.error.message, "tampered")
    executed = executor.result or {"outcome": "failed", "why": f"{_why(executor)}; {_ROLLBACK_HINT}", "steps": []}
    verified = verifier.result or {"ok": False, "checks": [], "rounds": 0, "stopped": False}
    outcome, why = current_outcome(executed["outcome"]), executed["why"]
    if outcome in GOOD and not verified["ok"]:
        outcome, why = "not_recovered", f"the verifier disagrees: {_why_not(verified, verifier)}"
    result = {
        "outcome": outcome,
        "why": why,
        "verified": bool(verified["ok"]),
        "plan": list(state.plan),
        "reason": state.reason,
        "steps": executed["steps"],
        "checks": verified["checks"],
        "runbook": state.request.source,
        "incident": state.request.incident,
        "requester": state.request.requester,
    }
    result["postmortem"] = (await ctx.call_tool("write_postmortem", run_id=ctx.run_id, result=result))["path"]
    if outcome in GOOD:
        await ctx.call_tool("learn", run_id=ctx.run_id, result=result)
    return Complete(result)


def _why(child: ChildResult) -> str:
    return str(child.error) if child.error is not None else f"{child.name} is {child.status}"


def _why_not(verified: dict[str, Any], verifier: ChildResult) -> str:
    failing = [report for report in verified["checks"] if not report["ok"]]
    return f"{failing[0]['id']}: {failing[0]['text']}" if failing else _why(verifier)
