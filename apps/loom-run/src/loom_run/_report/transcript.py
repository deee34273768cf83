"""One conversation, message by message."""

from typing import TYPE_CHECKING, Any

from flow_xray.terminal import visible_line
from loom_agents import AssistantMessage, SummaryMessage, ToolMessage
from loom_runner import SQLiteStore
from loom_runner.cli_base import Output, plural, shorten, write_json, write_line

from loom_run._chat.conversation import Conversation
from loom_run._report.turn_ending import usage_text
from loom_run._text import argument_text, result_text

if TYPE_CHECKING:
    from collections.abc import Mapping


def write_transcript(store: SQLiteStore, run_id: str, output: Output) -> None:
    """Write one conversation, tool calls included."""
    turn = Conversation(store, run_id).read()
    messages = turn.state.to_json()["conversation"]["messages"]
    if output == "jsonl":
        for message in messages:
            write_json(message, "jsonl")
        return
    if output == "json":
        write_json(turn.to_json() | {"messages": messages, "setup": dict(turn.state.setup)})
        return
    arguments: dict[str, Mapping[str, Any]] = {}
    for message in turn.state.messages:
        if isinstance(message, ToolMessage):
            what = argument_text(arguments.get(message.call_id, {}))
            success = message.outcome == "success"
            result = result_text(message.name, message.payload) if success else f"{message.outcome}: {message.payload}"
            write_line(visible_line(f"  {message.name}  {shorten(what, 60)}  {shorten(result, 200)}".rstrip()))
        elif isinstance(message, AssistantMessage):
            arguments |= {call.id: call.arguments for call in message.tool_calls}
            if message.text:
                write_line(message.text)
        elif isinstance(message, SummaryMessage):
            earlier = plural(message.replies, "earlier reply", "earlier replies")
            write_line(f"[summary of {earlier}] {message.text}")
        else:
            write_line(f"> {message.text}")
    write_line(f"-- {turn.status}, {plural(turn.step_index, 'step')}, {usage_text(turn.state.total_usage)}")
