"""Export a conversation: as Markdown, as JSON, or as a script that replays it."""

import json
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

from flow_xray.terminal import visible, visible_json
from loom_agents import AssistantMessage, SummaryMessage, ToolMessage, UserMessage, script_of
from loom_runner.cli_base import plural

from loom_run._chat.turn import Turn
from loom_run._report.turn_ending import usage_text

Form: TypeAlias = Literal["markdown", "json", "script"]


def export_chat(turn: Turn, form: Form) -> str:
    """Render a conversation in one format; the text ends with a line feed."""
    if form == "json":
        messages = turn.state.to_json()["conversation"]["messages"]
        whole = turn.to_json() | {"messages": messages, "setup": dict(turn.state.setup)}
        return visible_json(json.dumps(whole, ensure_ascii=False, indent=2)) + "\n"
    if form == "script":
        return visible_json(json.dumps(script_of(turn.state.messages), ensure_ascii=False, indent=2)) + "\n"
    return visible("\n\n".join(_parts(turn))) + "\n"


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
                payload = message.payload
                text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False, indent=2)
                yield f"### {message.name} ({message.outcome})\n\n{_fenced(given)}\n\n{_fenced(text)}"
    yield f"---\n\n{turn.status}, {plural(turn.step_index, 'step')}, {usage_text(turn.state.total_usage)}"


def _fenced(text: str) -> str:
    """Put a text in a fence that is longer than any in it."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"
