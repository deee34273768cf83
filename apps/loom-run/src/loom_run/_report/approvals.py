"""Show tool calls that wait for approval, and what they would do."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flow_xray.terminal import visible_line
from loom_agents.cli import Request, argument_difference, edit_notes, final_arguments
from loom_runner.cli_base import Output, plural, styled_status, write_line, write_rows

from loom_run._chat.approvals import request_label

MAX_SHOWN_LINES = 40


def preview(tool: str, arguments: Mapping[str, Any]) -> list[str]:
    """Show what a call would do, in at most 40 lines."""
    match tool, arguments:
        case "edit_file", {"path": str(path), "old": str(old), "new": str(new)}:
            lines = [path, *_signed("-", old), *_signed("+", new)]
        case "write_file", {"path": str(path), "text": str(text)}:
            lines = [path, *_signed("+", text)]
        case "apply_patch", {"patch": str(patch)}:
            lines = patch.splitlines()
        case "git_commit", {"message": str(message)}:
            lines = message.splitlines()
        case _:
            lines = json.dumps(dict(arguments), ensure_ascii=False, indent=2).splitlines()
    shown = [visible_line(line) for line in lines[:MAX_SHOWN_LINES]]
    omitted = len(lines) - len(shown)
    return [*shown, f"... {plural(omitted, 'more line')}"] if omitted else shown


def write_requests(requests: Sequence[Request], output: Output) -> None:
    """List requests, each with what it would do."""
    if output != "text" or not requests:
        write_rows(requests, {}, output, empty="no call waits for approval")
    else:
        for line in _lines(requests):
            write_line(line)


def decision_text(decision: Mapping[str, Any]) -> str:
    """Name a decision in the past tense, without who made it."""
    return {"approve": "approved", "edit": "approved with other arguments", "deny": "denied"}[str(decision["how"])]


def _lines(requests: Sequence[Request]) -> Iterable[str]:
    for request in requests:
        until = f", expires {request['expires_at']}" if request["expires_at"] else ""
        yield f"{request_label(request)}  {styled_status(request['status'])}  {request['reason']}{until}"
        for line in preview(request["tool"], final_arguments(request)):
            yield f"    {line}"
        for line in [*edit_notes(request), *argument_difference(request["arguments"], final_arguments(request))]:
            yield f"    edit {line}"
        for decision in request["decisions"]:
            note = f": {decision['note']}" if decision["note"] else ""
            yield visible_line(f"    {decision['how']} by {decision['by']} ({decision['via']}) {decision['at']}{note}")


def _signed(sign: str, text: str) -> list[str]:
    return [f"{sign} {line}" for line in text.splitlines()]
