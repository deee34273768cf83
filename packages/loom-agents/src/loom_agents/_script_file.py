"""Read a script for `ScriptedModel` from a JSON or YAML file. The README describes the format."""

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loom_agents._errors import ScriptError
from loom_agents._messages import ToolCall, Usage
from loom_agents._model import ModelReply

SCRIPT_FORMAT = "loom-script/1"

_REPLY_KEYS = {"text", "tool_calls", "usage"}
_CALL_KEYS = {"id", "name", "arguments"}
_USAGE_KEYS = {"input_tokens", "output_tokens", "cache_read_tokens", "cost_usd"}


def read_script(path: Path, *, agent: str | None = None) -> list[ModelReply]:
    """Read the replies of a script file, in order.

    Args:
        path: the file.
        agent: read the part of this agent of a team instead.

    Raises:
        ScriptError: the file cannot be read, or is not a script.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else "it is not UTF-8 text"
        raise ScriptError(f"cannot read the script {path}: {reason}. Name a JSON or YAML file.") from exc
    data = _parse(path, text)
    if not isinstance(data, dict) or data.get("format") != SCRIPT_FORMAT:
        raise _wrong(path, "the top level", f'an object with "format": "{SCRIPT_FORMAT}" and "replies"')
    _only(path, "the top level", data, {"format", "replies", "agents"})
    agents = data.get("agents", {})
    if not isinstance(agents, dict):
        raise _wrong(path, "agents", "an object with a list of replies for each agent")
    place = "replies" if agent is None else f"agents.{agent}"
    replies = data.get("replies") if agent is None else agents.get(agent)
    if not isinstance(replies, list) or not replies:
        raise _wrong(path, place, "a list with at least one reply")
    return [_reply(path, f"{place}[{index}]", item) for index, item in enumerate(replies)]


def _parse(path: Path, text: str) -> Any:
    if path.suffix.lower() in {".yaml", ".yml"}:
        yaml = importlib.import_module("yaml")  # loaded only for a YAML script; it carries no types
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as exc:
            raise _wrong(path, "the file", f"YAML ({' '.join(str(exc).split())})") from exc
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise _wrong(path, "the file", f"JSON ({exc})") from exc


def _reply(path: Path, place: str, item: Any) -> ModelReply:
    if isinstance(item, str):
        return ModelReply(item)
    if not isinstance(item, dict):
        raise _wrong(path, place, "a text or an object")
    _only(path, place, item, _REPLY_KEYS)
    text, calls = item.get("text", ""), item.get("tool_calls", [])
    if not isinstance(text, str):
        raise _wrong(path, f"{place}.text", "a text")
    if not isinstance(calls, list):
        raise _wrong(path, f"{place}.tool_calls", "a list")
    if not text and not calls:
        raise _wrong(path, place, "a reply with text, tool_calls or both")
    parsed = tuple(_call(path, f"{place}.tool_calls[{index}]", index, call) for index, call in enumerate(calls))
    return ModelReply(text, parsed, _usage(path, f"{place}.usage", item.get("usage")))


def _call(path: Path, place: str, index: int, item: Any) -> ToolCall:
    if not isinstance(item, dict):
        raise _wrong(path, place, "an object")
    _only(path, place, item, _CALL_KEYS)
    name, call_id, arguments = item.get("name"), item.get("id", f"call-{index + 1}"), item.get("arguments", {})
    if not isinstance(name, str) or not name:
        raise _wrong(path, f"{place}.name", "the name of a tool")
    if not isinstance(call_id, str):
        raise _wrong(path, f"{place}.id", "a text")
    if not isinstance(arguments, dict | str):
        raise _wrong(path, f"{place}.arguments", "an object, or a text to play a model that writes bad JSON")
    return ToolCall.parse(call_id, name, arguments)


def _usage(path: Path, place: str, item: Any) -> Usage:
    if item is None:
        return Usage()
    if not isinstance(item, dict):
        raise _wrong(path, place, "an object")
    _only(path, place, item, _USAGE_KEYS)
    if not all(type(value) in {int, float} and value >= 0 for value in item.values()):
        raise _wrong(path, place, "numbers that are not negative")
    return Usage(requests=1, **item)


def _only(path: Path, place: str, item: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(str(key) for key in item if key not in known)
    if unknown:
        names = ", ".join(sorted(known))
        raise ScriptError(f"cannot read the script {path}: {place} has {unknown[0]!r}. Known there: {names}.")


def _wrong(path: Path, place: str, wanted: str) -> ScriptError:
    return ScriptError(f"cannot read the script {path}: {place} is not {wanted}. See the README of loom-agents.")
