"""Convert chat messages of OpenTelemetry: read every form in use, write one.

The form that is written is that of the GenAI conventions: `{"role", "parts": [{"type": "text",
"content"}, {"type": "tool_call", "id", "name", "arguments"}, {"type": "tool_call_response", "id",
"response"}, ...]}`. The page reads that form, too, so messages in it are not converted. The
flattened attributes of OpenInference (`llm.input_messages.0.message.role`) and Traceloop
(`gen_ai.prompt.0.role`) become lists of messages again.
"""

import json
from collections.abc import Mapping
from typing import Any

from flow_xray._data.span import Json
from flow_xray._otel.names import MESSAGE_EVENT


def decoded(value: Any) -> Any:
    """Return the JSON in a text that is an object or a list.

    Return anything else, including truncated text, unchanged.
    """
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value, parse_constant=str)
        except (ValueError, RecursionError):
            return value
    return value


# ---------------------------------------------------------------------- in


def messages_of(value: Any) -> list[Any]:
    """Return the messages in a value: a list of objects with a role.

    Empty when it is something else.
    """
    value = decoded(value)
    if isinstance(value, dict):
        value = value.get("messages", [value])
    if not isinstance(value, list) or not value:
        return []
    found = [decoded(item) for item in value]
    return found if all(isinstance(item, dict) and ("role" in item or "parts" in item) for item in found) else []


def unflattened(attributes: Mapping[str, Any], prefix: str) -> list[Any]:
    """Return the list that was flattened into `prefix.0.a.b`, `prefix.1.a`, ....

    Empty when there is none.
    """
    tree: dict[str, Any] = {}
    for key, value in attributes.items():
        if not key.startswith(prefix + "."):
            continue
        path = key[len(prefix) + 1 :].split(".")
        if not path[0].isdigit():
            continue
        node = tree
        for step in path[:-1]:
            below = node.get(step)
            if not isinstance(below, dict):
                below = node[step] = {}
            node = below
        node.setdefault(path[-1], value)
    found = _lists(tree, 0)
    return found if isinstance(found, list) else []


def _lists(node: Any, depth: int) -> Any:
    """Turn objects whose keys are all numbers into lists."""
    if not isinstance(node, dict) or depth > 30:
        return node
    if node and all(key.isdigit() for key in node):
        return [_lists(node[key], depth + 1) for key in sorted(node, key=int)]
    return {key: _lists(value, depth + 1) for key, value in node.items()}


def flat_messages(attributes: Mapping[str, Any], prefix: str) -> list[dict[str, Any]]:
    """Return the messages in flattened attributes of OpenInference or Traceloop."""
    found = []
    for item in unflattened(attributes, prefix):
        each = item.get("message", item) if isinstance(item, dict) else item
        if not isinstance(each, dict):
            continue
        message = {key: each[key] for key in ("name", "tool_call_id", "finish_reason") if key in each}
        message["role"] = str(each.get("role", "assistant" if "completion" in prefix or "output" in prefix else "user"))
        contents = each.get("contents")
        if isinstance(contents, list):
            message["content"] = [_part_of(part) for part in contents]
        elif "content" in each:
            content = decoded(each["content"])
            is_parts = isinstance(content, list) and all(isinstance(part, dict) and "type" in part for part in content)
            message["content"] = content if is_parts else each["content"]
        calls = each.get("tool_calls")
        if isinstance(calls, list):
            message["tool_calls"] = [_call_of(call) for call in calls if isinstance(call, dict)]
        found.append(message)
    return found


def _part_of(part: Any) -> Any:
    inner = part.get("message_content", part) if isinstance(part, dict) else part
    if not isinstance(inner, dict):
        return inner
    url = inner.get("image")
    if isinstance(url, dict):
        return {"type": "image", "image": url.get("image", url)}
    return inner


def _call_of(call: dict[str, Any]) -> dict[str, Any]:
    inner = call.get("tool_call", call)
    inner = inner if isinstance(inner, dict) else {}
    function = inner.get("function", inner)
    function = function if isinstance(function, dict) else {}
    return {
        "id": inner.get("id"),
        "name": function.get("name"),
        "arguments": decoded(function.get("arguments")),
    }


def with_tool_names(messages: list[Any]) -> list[Any]:
    """Return the messages, with the tool's name added to results that only have the call's id."""
    names: dict[object, object] = {}
    for message in messages:
        if not isinstance(message, dict):
            continue
        parts = [
            part for key in ("tool_calls", "parts") for part in _listed(message.get(key)) if isinstance(part, dict)
        ]
        names.update({part["id"]: part["name"] for part in parts if isinstance(part.get("id"), str) and "name" in part})
    return [
        {**message, "name": names[message["tool_call_id"]]}
        if isinstance(message, dict)
        and "name" not in message
        and isinstance(message.get("tool_call_id"), str)
        and message["tool_call_id"] in names
        else message
        for message in messages
    ]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def event_message(name: str, attributes: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the message in an event of the older GenAI conventions, or None."""
    role = MESSAGE_EVENT.get(name)
    if role is None:
        return None
    body = decoded(attributes.get("gen_ai.event.content", attributes.get("body")))
    values = {key: decoded(value) for key, value in {**attributes, **(body if isinstance(body, dict) else {})}.items()}
    inner = values.get("message")
    if isinstance(inner, dict):
        values = {**values, **inner}
    message: dict[str, Any] = {"role": str(values.get("role", role))}
    content = next((values[key] for key in ("content", "gen_ai.prompt", "gen_ai.completion") if key in values), None)
    if content is not None:
        message["content"] = content
    call_id = values.get("id", values.get("tool_call_id"))
    if role == "tool" and call_id is not None:
        message["tool_call_id"] = call_id
    if "name" in values:
        message["name"] = values["name"]
    calls = values.get("tool_calls")
    if isinstance(calls, list):
        message["tool_calls"] = [_call_of(call) for call in calls if isinstance(call, dict)]
    return message


# ---------------------------------------------------------------------- out


def written_message(value: Json, default_role: str) -> dict[str, Json] | None:
    """Return a message in the form of the GenAI conventions; None when it is not a message."""
    if isinstance(value, str):
        return {"role": default_role, "parts": [_text(value)]}
    if not isinstance(value, dict):
        return None
    role = value.get("role")
    if not isinstance(role, str):
        if not ({"content", "parts", "tool_calls", "text"} & value.keys()):
            return None
        role = default_role
    parts: list[Json] = []
    content = value.get("content", value.get("text"))
    if role == "tool" and "parts" not in value:
        parts.append({"type": "tool_call_response", "id": value.get("tool_call_id"), "response": content})
    elif isinstance(content, list):
        parts += [_written_part(part) for part in content]
    elif isinstance(content, str):
        if content:
            parts.append(_text(content))
    elif content is not None:
        parts.append(_written_part(content))
    given = value.get("parts")
    if isinstance(given, list):
        parts += [_written_part(part) for part in given]
    calls = value.get("tool_calls")
    if isinstance(calls, list):
        parts += [_written_call(call) for call in calls if isinstance(call, dict)]
    message: dict[str, Json] = {"role": role, "parts": parts}
    for key in ("name", "finish_reason"):
        if isinstance(value.get(key), str):
            message[key] = value[key]
    return message


def _text(text: str) -> dict[str, Json]:
    return {"type": "text", "content": text}


def _written_part(part: Json) -> Json:
    if isinstance(part, str):
        return _text(part)
    if not isinstance(part, dict):
        return {"type": "generic", "value": part}
    kind = str(part.get("type", part.get("part_kind", part.get("kind", ""))))
    body = part.get("content", part.get("text"))
    if kind in ("tool_use", "tool_call", "tool-call", "function_call", "function"):
        return _written_call(part)
    if kind in ("tool_result", "tool-return", "tool_call_response", "function_call_output"):
        response = next((part[key] for key in ("response", "result", "output", "payload") if key in part), body)
        call_id = part.get("tool_use_id", part.get("tool_call_id", part.get("call_id", part.get("id"))))
        return {"type": "tool_call_response", "id": call_id, "response": response}
    if kind in ("thinking", "reasoning"):
        return {"type": "reasoning", "content": part.get("thinking", part.get("reasoning", body))}
    if isinstance(body, str) and kind in ("", "text", "input_text", "output_text", "system-prompt", "user-prompt"):
        return _text(body)
    return part if "type" in part else {"type": "generic", **part}


def _written_call(call: dict[str, Json]) -> dict[str, Json]:
    inner = call.get("function")
    function = inner if isinstance(inner, dict) else call
    arguments = next((function[key] for key in ("arguments", "args", "input") if key in function), None)
    return {
        "type": "tool_call",
        "id": call.get("id", call.get("tool_call_id", call.get("call_id"))),
        "name": function.get("name", function.get("tool_name")),
        "arguments": decoded(arguments),
    }
