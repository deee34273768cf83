"""Model requests as spans: the one that is on its way, and those that a run has on record.

A live request is traced while it runs. Of the requests of other processes, those that were killed included, the
states of the run are left: each step's state holds the reply that the step committed and what was used until then.
`describe_step` reads it there; `loom_runner` finds it by its entry point when it draws the page of a run.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from flow_xray import Span

from loom_agents._errors import MessageFormatError
from loom_agents._messages import AssistantMessage, Message, SummaryMessage, ToolCall, Usage, dump_messages
from loom_agents._state import AgentState


def describe_step(before: Any, after: Any, result: Any) -> list[Span]:
    """Tell the model request of a committed step.

    Args:
        before: the state before the step, JSON.
        after: the state after it; None when the step completed the run.
        result: the result of the run when the step completed it.

    Returns:
        One span without id and times, or none: the state is not an agent's, or nothing was asked.
    """
    if not isinstance(before, Mapping) or not isinstance(result if after is None else after, Mapping):
        return []
    try:
        old = AgentState.from_json(before)
        new = _completed(old, result) if after is None else AgentState.from_json(after)
    except (MessageFormatError, KeyError, TypeError):
        return []  # of a later version, or of another program
    said = new.messages[-1] if new.messages else None
    used = new.usage - old.usage
    first = new.messages[0] if new.messages else None
    if isinstance(first, SummaryMessage) and first not in old.messages and used.requests == 1:
        span = Span("", None, "summary", "llm", input=request_input(old.messages))
        span.output = reply_output(first.text, ())
        span.meta = reply_meta(used, "", "stop")
        return [span]
    if not isinstance(said, AssistantMessage) or used.requests < 1:
        return []
    span = Span("", None, said.model or "model", "llm", input=request_input(new.messages[:-1]))
    span.output = reply_output(said.text, said.tool_calls)
    span.meta = reply_meta(used, said.model, said.finish_reason)
    return [span]


def request_input(messages: Iterable[Message]) -> Any:
    """Show what a model was asked."""
    return dump_messages(messages)["messages"]


def reply_output(text: str, calls: Iterable[ToolCall]) -> dict[str, Any]:
    """Show what it answered."""
    return {"text": text, "tool_calls": [call_shown(call) for call in calls]}


def reply_meta(usage: Usage, model: str, finish_reason: str) -> dict[str, Any]:
    """Show who answered, and what that used."""
    return {
        "model": model,
        "input_tokens": usage.input_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "output_tokens": usage.output_tokens,
        "cost_usd": usage.cost_usd,
        "finish_reason": finish_reason,
    }


def call_shown(call: ToolCall) -> dict[str, Any]:
    """Show a tool call; what was not a JSON object as the model wrote it."""
    arguments = dict(call.arguments) if call.malformed is None else call.malformed
    return {"id": call.id, "name": call.name, "arguments": arguments}


def _completed(before: AgentState, result: Mapping[str, Any]) -> AgentState:
    """The state that a completed run would have: its last step stores a result instead."""
    said = AssistantMessage(result["answer"], model=result["model"])
    return AgentState((*before.messages, said), Usage.from_json(result["usage"]))
