"""Scripts for `ScriptedModel`: read one from a JSON or YAML file, and write a conversation as one.

The README describes the format.
"""

import importlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from loom_agents._errors import ScriptError
from loom_agents._models.messages import AssistantMessage, Message, ToolCall, Usage, call_json
from loom_agents._models.protocol import ModelReply

SCRIPT_FORMAT = "loom-script/1"

_REPLY_KEYS = {"text", "tool_calls", "usage"}
_CALL_KEYS = {"id", "name", "arguments"}
_USAGE_KEYS = {"input_tokens", "output_tokens", "cache_read_tokens", "cost_usd"}


def read_script(path: Path, *, agent: str | None = None) -> list[ModelReply]:
    """Read the replies of a script file, in order.

    Args:
        path: The file.
        agent: Read the replies of this agent of a team instead.

    Raises:
        ScriptError: The file cannot be read, or is not a script.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else "it is not UTF-8 text"
        raise ScriptError(f"cannot read the script {path}: {reason}. Name a JSON or YAML file.") from exc
    data = _parse(path, text)
    if not isinstance(data, dict) or data.get("format") != SCRIPT_FORMAT:
        raise _invalid(path, "the top level", f'an object with "format": "{SCRIPT_FORMAT}" and "replies"')
    _check_keys(path, "the top level", data, {"format", "replies", "agents"})
    agents = data.get("agents", {})
    if not isinstance(agents, dict):
        raise _invalid(path, "agents", "an object with a list of replies for each agent")
    place = "replies" if agent is None else f"agents.{agent}"
    replies = data.get("replies") if agent is None else agents.get(agent)
    if not isinstance(replies, list) or not replies:
        raise _invalid(path, place, "a list with at least one reply")
    return [_reply(path, f"{place}[{index}]", item) for index, item in enumerate(replies)]


def script_of(messages: Iterable[Message]) -> dict[str, Any]:
    """Return a conversation as a script for `ScriptedModel`, without token counts."""
    replies = [ModelReply(m.text, m.tool_calls) for m in messages if isinstance(m, AssistantMessage)]
    return script_json([reply_json(reply) for reply in replies])


def script_json(replies: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the script with these replies, which are in the form of `reply_json`."""
    return {"format": SCRIPT_FORMAT, "replies": list(replies)}


def reply_json(reply: ModelReply) -> dict[str, Any]:
    """Return the form of a reply in a script, without empty and unknown members."""
    stored: dict[str, Any] = {"text": reply.text, "tool_calls": [call_json(call) for call in reply.tool_calls]}
    if reply.usage.requests:
        usage = reply.usage.to_json()
        stored["usage"] = {name: usage[name] for name in usage if name in _USAGE_KEYS and usage[name] is not None}
    return {name: value for name, value in stored.items() if value or name == "usage"}


def _parse(path: Path, text: str) -> Any:
    if path.suffix.lower() in {".yaml", ".yml"}:
        yaml = importlib.import_module("yaml")  # loaded only for a YAML script; it has no types
        try:
            return yaml.safe_load(text)
        except (yaml.YAMLError, RecursionError) as exc:
            raise _invalid(path, "the file", f"YAML ({' '.join(str(exc).split())})") from exc
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise _invalid(path, "the file", f"JSON ({exc})") from exc


def _reply(path: Path, place: str, item: Any) -> ModelReply:
    if isinstance(item, str):
        return ModelReply(item)
    if not isinstance(item, dict):
        raise _invalid(path, place, "a string or an object")
    _check_keys(path, place, item, _REPLY_KEYS)
    text, calls = item.get("text", ""), item.get("tool_calls", [])
    if not isinstance(text, str):
        raise _invalid(path, f"{place}.text", "a string")
    if not isinstance(calls, list):
        raise _invalid(path, f"{place}.tool_calls", "a list")
    if not text and not calls:
        raise _invalid(path, place, "a reply with text, tool_calls or both")
    parsed = tuple(_call(path, f"{place}.tool_calls[{index}]", index, call) for index, call in enumerate(calls))
    return ModelReply(text, parsed, _usage(path, f"{place}.usage", item.get("usage")))


def _call(path: Path, place: str, index: int, item: Any) -> ToolCall:
    if not isinstance(item, dict):
        raise _invalid(path, place, "an object")
    _check_keys(path, place, item, _CALL_KEYS)
    name, call_id, arguments = item.get("name"), item.get("id", f"call-{index + 1}"), item.get("arguments", {})
    if not isinstance(name, str) or not name:
        raise _invalid(path, f"{place}.name", "the name of a tool")
    if not isinstance(call_id, str):
        raise _invalid(path, f"{place}.id", "a string")
    if not isinstance(arguments, dict | str):
        raise _invalid(
            path, f"{place}.arguments", "an object, or a string to simulate a model that writes invalid JSON"
        )
    return ToolCall.parse(call_id, name, arguments)


def _usage(path: Path, place: str, item: Any) -> Usage:
    if item is None:
        return Usage()
    if not isinstance(item, dict):
        raise _invalid(path, place, "an object")
    _check_keys(path, place, item, _USAGE_KEYS)
    if not all(type(value) in {int, float} and value >= 0 for value in item.values()):
        raise _invalid(path, place, "an object of numbers of at least 0")
    return Usage(requests=1, **item)


def _check_keys(path: Path, place: str, item: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(str(key) for key in item if key not in known)
    if unknown:
        names = ", ".join(sorted(known))
        raise ScriptError(
            f"cannot read the script {path}: {place} has the unknown key {unknown[0]!r}. Known keys: {names}."
        )


def _invalid(path: Path, place: str, expected: str) -> ScriptError:
    return ScriptError(f"cannot read the script {path}: {place} is not {expected}. See the README of loom-agents.")
