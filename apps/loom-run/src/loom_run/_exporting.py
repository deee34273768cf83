"""Write a conversation out: for a person to read, for a program, or as a script that plays it again."""

import json
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

from loom_agents import AgentState, AssistantMessage, SummaryMessage, ToolMessage, UserMessage
from loom_runner.cli_base import plural

from loom_run._story import usage_text
from loom_run._turn import Turn

Form: TypeAlias = Literal["markdown", "json", "script"]


def exported(turn: Turn, form: Form) -> str:
    """Write a conversation in one form; it ends with a line feed."""
    if form == "json":
        messages = turn.state.to_json()["conversation"]["messages"]
        whole = turn.to_json() | {"messages": messages, "setup": dict(turn.state.setup)}
        return json.dumps(whole, ensure_ascii=False, indent=2) + "\n"
    if form == "script":
        script = {"format": "loom-script/1", "replies": list(_replies(turn.state))}
        return json.dumps(script, ensure_ascii=False, indent=2) + "\n"
    return "\n\n".join(_parts(turn)) + "\n"


def _replies(state: AgentState) -> Iterator[dict[str, Any]]:
    for message in state.messages:
        if isinstance(message, AssistantMessage):
            calls = [
                {"id": call.id, "name": call.name, "arguments": call.malformed or dict(call.arguments)}
                for call in message.tool_calls
            ]
            yield {"text": message.text} | ({"tool_calls": calls} if calls else {})


def _parts(turn: Turn) -> Iterator[str]:
    yield f"# {turn.run_id}"
    arguments: dict[str, Any] = {}
    for message in turn.state.messages:
        match message:
            case UserMessage():
                yield f"## User\n\n{message.text}"
            case SummaryMessage():
                yield f"## Summary of {plural(message.replies, 'earlier reply', 'earlier replies')}\n\n{message.text}"
            case AssistantMessage():
                arguments |= {call.id: call.malformed or dict(call.arguments) for call in message.tool_calls}
                if message.text:
                    yield f"## {message.model or 'Model'}\n\n{message.text}"
            case ToolMessage():
                given = json.dumps(arguments.get(message.call_id), ensure_ascii=False, indent=2)
                said = message.payload
                text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False, indent=2)
                yield f"### {message.name} ({message.outcome})\n\n{_fenced(given)}\n\n{_fenced(text)}"
    yield f"---\n\n{turn.standing}, {plural(turn.step_index, 'step')}, {usage_text(turn.state.total_usage)}"


def _fenced(text: str) -> str:
    """Put a text in a fence that it cannot end."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"
