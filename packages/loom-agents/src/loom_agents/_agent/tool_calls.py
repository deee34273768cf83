"""Answer the tool calls of a reply: each of them once, by its id, in the order of the calls.

Invalid arguments, unknown tools, and calls that fail, are denied or were interrupted give an answer
to the model; they do not end the run. Only the runner ends or suspends the step: for a call in
doubt that needs a decision, a pending approval, or a lost lease.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from loom_runner import RunContext, ToolFailed, ToolRegistry

from loom_agents._models.messages import ToolCall, ToolMessage, ToolOutcome, storable
from loom_agents._tools.function_tools import KEY_PARAMETER
from loom_agents._tools.input_requests import INPUT_ARGUMENT

# The ledger's categories for a call that may or may not have taken effect.
_INTERRUPTED = frozenset({"in_doubt", "skipped"})
_DENIED = frozenset({"denied", "approval_expired"})


async def answer_calls(
    calls: tuple[ToolCall, ...], tools: ToolRegistry, ctx: RunContext, inputs: Mapping[str, Any] | None = None
) -> list[ToolMessage]:
    """Run all calls at the same time and return their answers in the order of the calls.

    Args:
        calls: The calls of the model.
        tools: The available tools.
        ctx: The context of the step.
        inputs: A person's answers to calls that asked a question, by the id of the call (see
            `_tools.input_requests`).
    """
    answers = inputs or {}
    tasks = [asyncio.create_task(_answer(call, tools, ctx, answers.get(call.id))) for call in calls]
    try:
        if tasks:
            await asyncio.wait(tasks)  # a call that suspends the run or loses the lease does not interrupt the others
        return [task.result() for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def refusal(call: ToolCall) -> ToolMessage | None:
    """Return an error for a malformed call; None for a well-formed one."""
    if call.malformed is not None:
        return failed(call, f"cannot call {call.name}: this is not a JSON object: {_brief(call)}")
    if hidden := next((name for name in call.arguments if name.startswith("_") or name == KEY_PARAMETER), None):
        # These names are reserved for the runner: a model that sets them could approve its call or
        # imitate another.
        return failed(call, f"cannot call {call.name}: it has no argument {hidden!r}.")
    return None


def failed(call: ToolCall, text: str) -> ToolMessage:
    """Return an error as the answer to a call."""
    return ToolMessage(call.id, call.name, "failed", text)


async def _answer(call: ToolCall, tools: ToolRegistry, ctx: RunContext, answer: Any) -> ToolMessage:
    if refused := refusal(call):
        return refused
    if call.name not in tools:
        names = ", ".join(sorted(tool.name for tool in tools)) or "none"
        return failed(call, f"cannot call {call.name!r}: there is no such tool. Tools: {names}.")
    try:
        more = {} if answer is None else {INPUT_ARGUMENT: answer}
        payload = await ctx.call_tool(call.name, _key=call.id, **call.arguments, **more)
    except ToolFailed as exc:
        outcome: ToolOutcome = "failed"
        text = exc.message
        if exc.error_category in _INTERRUPTED:
            outcome = "interrupted"
        elif exc.error_category in _DENIED:
            # Without the second half, some models report to the user that the call is still
            # waiting.
            outcome, text = "denied", f"not run, and not waiting for a decision: {exc.message}"
        return ToolMessage(call.id, call.name, outcome, storable(text))
    return ToolMessage(call.id, call.name, "success", payload)


def _brief(call: ToolCall) -> str:
    text = call.malformed or ""
    return text if len(text) <= 200 else f"{text[:200]}... ({len(text)} characters)"
