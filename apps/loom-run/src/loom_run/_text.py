"""Format text for a terminal: tool calls as lines, control characters escaped."""

import contextlib
import json
import re
from collections.abc import Mapping
from typing import Any

from flow_xray.terminal import visible_line
from loom_runner.cli_base import plural, size

_TIME_COLUMNS = 8


def tool_line(name: str, arguments: Mapping[str, Any], result: str, time: str, *, width: int) -> str:
    """Format one tool call as a line: name, main argument (shortened), result, time."""
    result_width = max(20 if width >= 80 else 12, len(result))
    room = max(10, min(40, width - 2 - 12 - 1 - 2 - result_width - 2 - _TIME_COLUMNS))
    what = shorten_argument(argument_text(arguments), room)
    return visible_line(f"  {name:<12} {what:<{room}}  {result:>{result_width}}  {time:>{_TIME_COLUMNS}}").rstrip()


def argument_text(arguments: Mapping[str, Any]) -> str:
    """Return the most informative argument: a quoted query, a path, a task with its agent."""
    if isinstance(arguments.get("agent"), str) and isinstance(arguments.get("task"), str):
        return f"{arguments['agent']}: {arguments['task']}"
    for name in ("query", "pattern", "message", "question"):
        if isinstance(arguments.get(name), str):
            return f'"{arguments[name].strip().partition(chr(10))[0]}"'
    if isinstance(arguments.get("patch"), str):
        paths = re.findall(r"^\+\+\+ (?:b/)?(\S+)", arguments["patch"], re.MULTILINE)
        return ", ".join(paths)
    for name in ("path", "glob"):
        if isinstance(arguments.get(name), str):
            offset = arguments.get("offset")
            return f"{arguments[name]}:{offset}" if name == "path" and offset else str(arguments[name])
    others = {name: value for name, value in arguments.items() if name not in {"offset", "limit"}}
    return json.dumps(others, ensure_ascii=False) if others else ""


def result_text(name: str, payload: Any) -> str:
    """Describe the result of a tool in two or three words."""
    # An MCP server may replace a local tool and return results in another format.
    with contextlib.suppress(KeyError, TypeError, ValueError):
        if isinstance(payload, Mapping):
            return _local_result(name, payload)
    return size(len(json.dumps(payload, ensure_ascii=False).encode()))


def _local_result(name: str, payload: Mapping[str, Any]) -> str:
    if name in {"search_docs", "grep"}:
        return plural(int(payload["total"]), "match", "matches")
    if name == "list_files":
        return plural(int(payload["total"]), "file")
    if name == "read_file":
        return plural(int(payload["lines"]), "line")
    if name == "run_tests":
        summary = str(payload["summary"]).rpartition(" in ")[0]
        return summary if payload["exit_code"] in {0, 1} and 0 < len(summary) < 40 else str(payload["status"])
    if name == "git_commit":
        return f"{payload['commit'][:10]} on {payload['branch']}"
    if name in {"delegate", "ask_user"}:
        return str(payload["answer"])
    added, removed = (sum(file[key] for file in payload["files"]) for key in ("added_lines", "removed_lines"))
    return f"+{added} -{removed} lines"


def shorten_argument(text: str, limit: int) -> str:
    """Cut a text to one line of at most `limit` characters; a path keeps its end."""
    text = " ".join(text.split())
    if len(text) <= limit:
        return text
    return "..." + text[-(limit - 3) :] if "/" in text and " " not in text else text[: limit - 3] + "..."
