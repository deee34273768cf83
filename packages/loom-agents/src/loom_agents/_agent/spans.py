"""Model requests as spans: the one in progress, and the recorded ones of a run.

A live request is traced while it runs. Earlier requests, also of other processes, are read from the
states of the run: the state of each step holds the reply that the step committed and the usage so
far. `describe_step` reads them; `loom_runner` finds it by its entry point when it draws the trace
of a run.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from flow_xray import Span

from loom_agents._agent.state import AgentState
from loom_agents._errors import MessageFormatError
from loom_agents._models.messages import (
    AssistantMessage,
    Message,
    SummaryMessage,
    ToolCall,
    Usage,
    call_json,
    dump_messages,
)


def describe_step(before: Any, after: Any, result: Any) -> list[Span]:
    """Return the model request of a committed step as a span.

    Args:
        before: The state before the step, JSON.
        after: The state after it; None when the step completed the run.
        result: The result of the run when the step completed it.

    Returns:
        One span without id and times; no span when the state is not of an agent, or no request was
        sent.
    """
    if not isinstance(before, Mapping) or not isinstance(result if after is None else after, Mapping):
        return []
    try:
        old = AgentState.from_json(before)
        new = _completed(old, result) if after is None else AgentState.from_json(after)
    except (MessageFormatError, KeyError, TypeError):
        return []  # of a later version, or of another program
    last = new.messages[-1] if new.messages else None
    used = new.usage - old.usage
    first = new.messages[0] if new.messages else None
    if isinstance(first, SummaryMessage) and first not in old.messages and used.requests == 1:
        span = Span("", None, "summary", "llm", input=request_input(old.messages))
        span.output = reply_output(first.text, ())
        span.meta = reply_meta(used, "", "stop")
        return [span]
    if not isinstance(last, AssistantMessage) or used.requests < 1:
        return []
    span = Span("", None, last.model or "model", "llm", input=request_input(new.messages[:-1]))
    span.output = reply_output(last.text, last.tool_calls)
    span.meta = reply_meta(used, last.model, last.finish_reason)
    return [span]


def request_input(messages: Iterable[Message]) -> Any:
    """Return the input of a request's span: the messages."""
    return dump_messages(messages)["messages"]


def reply_output(text: str, calls: Iterable[ToolCall]) -> dict[str, Any]:
    """Return the output of a request's span: the reply."""
    return {"text": text, "tool_calls": [call_json(call) for call in calls]}


def reply_meta(usage: Usage, model: str, finish_reason: str) -> dict[str, Any]:
    """Return the metadata of a request's span: the model and the usage."""
    return {
        "model": model,
        "input_tokens": usage.input_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "output_tokens": usage.output_tokens,
        "cost_usd": usage.cost_usd,
        "finish_reason": finish_reason,
    }


def _completed(before: AgentState, result: Mapping[str, Any]) -> AgentState:
    """Return the state after the last step of a completed run, which stores a result instead."""
    reply = AssistantMessage(result["answer"], model=result["model"])
    return AgentState((*before.messages, reply), Usage.from_json(result["usage"]))
