"""Show a run while it is driven: tool calls on stderr, the answer on stdout."""

import json
from collections.abc import Mapping
from typing import Any

import click
from flow_xray.terminal import VisibleStream, visible_line
from loom_runner import RunEvent
from loom_runner.cli_base import Output, duration, plural, shorten, terminal_width, write_error, write_json
from loom_runner.run_ids import child_name

from loom_run._text import result_text, tool_line


class Progress:
    """Show the events of a run.

    Args:
        output: `text` for a person; `json` writes nothing before the end; `jsonl` writes every
            event as it comes.
        is_live: stdout is a terminal, so text is written piece by piece. Otherwise only the
            finished answer is written there, because what a model says before it calls a tool is
            not the answer.
    """

    def __init__(self, output: Output, *, is_live: bool) -> None:
        self._output = output
        self._is_live = is_live
        self._arguments: dict[tuple[str, str], Any] = {}
        self._started: set[str] = set()
        self._root: str | None = None
        self._at_line_start = True
        self._model_text = VisibleStream()
        self.has_streamed = False

    def __call__(self, event: RunEvent) -> None:
        """Take one event of the runner."""
        if self._output == "jsonl":
            write_json({"type": event.kind, **_facts(event)}, "jsonl")
        if self._root is None:
            self._root = event.run_id
        if event.kind == "emitted" and event.data["event"]["type"] == "tool_calls":
            calls = event.data["event"]["tool_calls"]
            self._arguments |= {(event.run_id, call["id"]): call["arguments"] for call in calls}
        if self._output != "text":
            return
        if event.kind == "emitted" and event.data["event"]["type"] == "text":
            if event.run_id == self._root:  # the text of child runs is for the agent that leads
                self._stream(event.data["event"]["text"])
            return
        line = self._line(event)
        if line:
            self.end_line()
            write_error(line)

    def note(self, text: str) -> None:
        """Show a notice that is not an event of the run, such as an MCP server that cannot be
        used.
        """
        if self._output == "jsonl":
            write_json({"type": "note", "text": text}, "jsonl")
            return
        self.end_line()
        write_error(text)

    def end_line(self) -> None:
        """End a line that was streamed."""
        rest = self._model_text.end()
        if rest or not self._at_line_start:
            click.echo(rest)
        self._at_line_start = True
        self.has_streamed = False

    def _stream(self, text: str) -> None:
        if self._is_live and text:
            click.echo(self._model_text.feed(text), nl=False)
            self._at_line_start = text.endswith("\n")
            self.has_streamed = True

    def _line(self, event: RunEvent) -> str | None:
        data = event.data
        is_new = event.run_id not in self._started
        if event.kind == "run_started":
            self._started.add(event.run_id)
            if not is_new:
                return None  # it waited for child runs
            if event.run_id != self._root and data["status"] == "created":
                return f"{self._who(event)}starts"
        if event.kind == "run_ended" and event.run_id != self._root:
            return f"{self._who(event)}{'answers' if data['status'] == 'completed' else 'is ' + data['status']}"
        if event.kind == "run_started" and data["status"] != "created":
            gone = data.get("taken_over_from")
            why = f"process {gone} disappeared during the step" if gone else f"it was {data['status']}"
            return f"resuming {event.run_id} in step {event.step_index}: {why}"
        if event.kind == "tool_finished":
            return self._who(event) + self._tool_line(event.run_id, data)
        if event.kind == "emitted" and data["event"]["type"] == "compacting":
            messages = plural(data["event"]["messages"], "message")
            return f"{self._who(event)}  summarizing {messages} of a long conversation"
        if event.kind == "emitted" and data["event"]["type"] == "tools_changed":
            return visible_line(_changed_tools(data["event"]))
        if event.kind == "attempt_failed" and data["retry_in_s"] is not None:
            error = data["error"]
            wait = duration(data["retry_in_s"] * 1_000_000)
            return visible_line(f"  {error['type']}: {shorten(error['message'], 120)}; trying again in {wait}")
        return None

    def _who(self, event: RunEvent) -> str:
        """Return the prefix with the agent's name; empty for the agent that the user talks with."""
        return "" if event.run_id == self._root else visible_line(f"  {child_name(event.run_id):<12}  ")

    def _tool_line(self, run_id: str, data: Mapping[str, Any]) -> str:
        arguments = self._arguments.get((run_id, data["key"]))
        if not isinstance(arguments, Mapping):
            arguments = {}
        time = "recorded" if data["recorded"] else duration(data["duration_ms"] * 1000)
        if data["status"] == "done":
            return tool_line(data["name"], arguments, result_text(data["name"], data["result"]), time, width=_width())
        is_denied = data["error"]["category"] in {"denied", "approval_expired"}
        result, time = ("denied", "") if is_denied else ("failed", time)
        line = tool_line(data["name"], arguments, result, time, width=_width())
        return f"{line}\n    {visible_line(shorten(data['error']['message'], _width() - 4))}"


def _changed_tools(event: Mapping[str, Any]) -> str:
    parts = [f"{what}: {', '.join(event[what])}" for what in ("added", "removed", "changed") if event[what]]
    return f"the tools of MCP servers have changed since the last step: {'; '.join(parts)}"


def _width() -> int:
    return min(terminal_width(), 100)


def _facts(event: RunEvent) -> dict[str, Any]:
    known = {"run_id": event.run_id, "step_index": event.step_index, "attempt": event.attempt, "at_us": event.at_us}
    return {**known, **json.loads(json.dumps(dict(event.data), default=str))}
