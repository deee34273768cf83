"""The supervisor: lets the planner plan, the executor and the verifier work side by side, and closes the incident."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from loom_runner import Child, Complete, Fail, RunContext, Spawn

from loom_ops._states import Executing, Planning, Supervising, Verifying

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from loom_runner import ChildResult

__all__ = ["GOOD", "supervisor_step"]

GOOD: Final = frozenset({"recovered", "done", "nothing to do"})
_TAKE_BACK: Final = "what it had done before can be taken back by loom-ops rollback"

_Result = Spawn[Supervising] | Complete[dict[str, Any]] | Fail


def supervisor_step() -> Callable[[Supervising, RunContext], Coroutine[Any, Any, _Result]]:
    """Return the supervisor's step."""

    async def supervise(state: Supervising, ctx: RunContext) -> _Result:
        if state.phase == "plan":
            planner = Child("planner", Planning(state.request, state.known), program="planner")
            return Spawn(replace(state, phase="act"), [planner])
        if state.phase == "act":
            planned = ctx.children["planner"]
            if planned.status != "completed":
                return Fail(f"there is no plan: {_why(planned)}", "planner")
            plan, reason = tuple(planned.result["steps"]), planned.result["reason"]
            executor = Child("executor", Executing(state.request, plan), program="executor")
            verifying = Verifying(state.request, executor=f"{ctx.run_id}:sub:executor")
            verifier = Child("verifier", verifying, program="verifier")
            return Spawn(replace(state, phase="close", plan=plan, reason=reason), [executor, verifier])
        return await _closed(state, ctx)

    return supervise


async def _closed(state: Supervising, ctx: RunContext) -> Complete[dict[str, Any]]:
    executor, verifier = ctx.children["executor"], ctx.children["verifier"]
    acted = executor.result or {"outcome": "failed", "why": f"{_why(executor)}; {_TAKE_BACK}", "steps": []}
    seen = verifier.result or {"ok": False, "checks": [], "rounds": 0, "stopped": False}
    outcome = acted["outcome"]
    if outcome in GOOD and not seen["ok"]:
        outcome, acted["why"] = "not recovered", f"the verifier does not agree: {_why_not(seen, verifier)}"
    result = {
        "outcome": outcome,
        "why": acted["why"],
        "verified": bool(seen["ok"]),
        "plan": list(state.plan),
        "reason": state.reason,
        "steps": acted["steps"],
        "checks": seen["checks"],
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


def _why_not(seen: dict[str, Any], verifier: ChildResult) -> str:
    broken = [report for report in seen["checks"] if not report["ok"]]
    return f"{broken[0]['id']}: {broken[0]['text']}" if broken else _why(verifier)
