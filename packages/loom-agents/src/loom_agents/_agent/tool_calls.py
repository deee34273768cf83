"""Answer the tool calls of a reply: each of them once, by its id, in the order of the calls.

Bad arguments, unknown tools and calls that fail, are denied or were interrupted are answers to the
model; they do not end the run. What ends or parks the step comes from the runner: a call in doubt that
needs a decision, an approval that is still pending, a lost lease.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from loom_runner import RunContext, ToolFailed, ToolRegistry

from loom_agents._models.messages import ToolCall, ToolMessage, ToolOutcome, storable
from loom_agents._tools.function_tools import KEY_PARAMETER
from loom_agents._tools.input_requests import INPUT_ARGUMENT

# The ledger's categories for a call of which it is unknown, or was decided not to be found out, whether it took effect.
_INTERRUPTED = frozenset({"in_doubt", "skipped"})
_DENIED = frozenset({"denied", "approval_expired"})


async def answer_calls(
    calls: tuple[ToolCall, ...], tools: ToolRegistry, ctx: RunContext, inputs: Mapping[str, Any] | None = None
) -> list[ToolMessage]:
    """Run all calls at the same time and return their answers in the order of the calls.

    Args:
        calls: The calls of the model.
        tools: The tools that there are.
        ctx: The step.
        inputs: A person's answer to a call that asked, by the id of the call (see `_tools.input_requests`).
    """
    given = inputs or {}
    tasks = [asyncio.create_task(_answer(call, tools, ctx, given.get(call.id))) for call in calls]
    try:
        if tasks:
            await asyncio.wait(tasks)  # one that parks the run or loses the lease does not interrupt the others
        return [task.result() for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def refusal(call: ToolCall) -> ToolMessage | None:
    """Answer a call that no tool could take; None for a well-formed one."""
    if call.malformed is not None:
        return failed(call, f"cannot call {call.name}: this is not a JSON object: {_brief(call)}")
    if hidden := next((name for name in call.arguments if name.startswith("_") or name == KEY_PARAMETER), None):
        # Such names belong to the runner: a model that sets them could approve itself, or pass for another call.
        return failed(call, f"cannot call {call.name}: it has no argument {hidden!r}.")
    return None


def failed(call: ToolCall, text: str) -> ToolMessage:
    """Answer a call with what is wrong about it."""
    return ToolMessage(call.id, call.name, "failed", text)


async def _answer(call: ToolCall, tools: ToolRegistry, ctx: RunContext, given: Any) -> ToolMessage:
    if refused := refusal(call):
        return refused
    if call.name not in tools:
        names = ", ".join(sorted(tool.name for tool in tools)) or "none"
        return failed(call, f"cannot call {call.name!r}: there is no such tool. Tools: {names}.")
    try:
        more = {} if given is None else {INPUT_ARGUMENT: given}
        payload = await ctx.call_tool(call.name, _key=call.id, **call.arguments, **more)
    except ToolFailed as exc:
        outcome: ToolOutcome = "failed"
        text = exc.message
        if exc.error_category in _INTERRUPTED:
            outcome = "interrupted"
        elif exc.error_category in _DENIED:
            # Without the second half some models tell their user that the call is still waiting.
            outcome, text = "denied", f"not run, and not waiting for anybody: {exc.message}"
        return ToolMessage(call.id, call.name, outcome, storable(text))
    return ToolMessage(call.id, call.name, "success", payload)


def _brief(call: ToolCall) -> str:
    text = call.malformed or ""
    return text if len(text) <= 200 else f"{text[:200]}... ({len(text)} characters)"
