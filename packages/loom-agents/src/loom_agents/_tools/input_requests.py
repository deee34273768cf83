"""Questions of a tool to a person, which another process may answer days later.

An MCP server may answer a call with questions instead of a result (`InputRequiredResult`). No
process waits for the answers: the questions are the recorded payload of the call, the run waits for
the signal `input`, and the process that resumes it repeats the call with the answers and the opaque
`request_state` of the server. Each round of a call has its own key (`id`, `id/1`, `id/2`), so that
each is recorded once.

    payload of a call   {"input_required": {"confirm": {"message": "Delete 3 files?", "schema": {...}}},
                         "request_state": "..."}
    payload of `input`  {"confirm": {"action": "accept", "content": {"ok": true}}}
    the repeated call   the arguments, and `_input={"responses": {...}, "request_state": "..."}`
"""

import json
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["INPUT_ARGUMENT", "asks_for_input", "input_argument", "input_question", "question_payload"]

INPUT_ARGUMENT: Final = "_input"
_MARK: Final = "input_required"
_ACTIONS: Final = ("accept", "decline", "cancel")
_YES: Final = ("yes", "y", "true", "ok")
_NO: Final = ("no", "n", "false")


def question_payload(questions: Mapping[str, Mapping[str, Any]], request_state: str | None) -> dict[str, Any]:
    """Build the payload of a call that asks questions.

    Args:
        questions: By the server's key, each with `message` and either `schema` (of the answer) or
            `url` (to visit).
        request_state: The opaque state of the server, which is sent back unchanged.
    """
    return {_MARK: {key: dict(question) for key, question in questions.items()}, "request_state": request_state}


def asks_for_input(payload: Any) -> bool:
    """Report whether a payload contains questions instead of a result."""
    return isinstance(payload, Mapping) and set(payload) == {_MARK, "request_state"} and bool(payload[_MARK])


def input_question(payload: Mapping[str, Any]) -> str:
    """Return the questions as text for a person, with the form of the answers."""
    lines = []
    for key, question in payload[_MARK].items():
        if "url" in question:
            form = f"open {question['url']}, then answer yes or no"
        else:
            fields = question.get("schema", {}).get("properties", {})
            form = ", ".join(f"{name}: {_kind(field)}" for name, field in fields.items()) or "yes or no"
        prefix = f"{key}: " if len(payload[_MARK]) > 1 else ""
        lines.append(f"{prefix}{question['message']} ({form})")
    return "\n".join(lines)


def input_argument(payload: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    """Build the argument `_input` of the next round from a person's answer.

    Args:
        payload: The questions.
        answer: An object with an answer for each key. For a single question the answer alone is
            enough: an object with `action`, the content of the form, or the single value that it
            asks for, also as text. A question without a valid answer is cancelled.
    """
    questions: Mapping[str, Any] = payload[_MARK]
    if isinstance(answer, str):
        answer = _parse(answer)
    by_key = answer if isinstance(answer, Mapping) and questions.keys() & answer.keys() else None
    if by_key is None:
        by_key = {next(iter(questions)): answer} if len(questions) == 1 else {}
    responses = {key: _response(question, by_key.get(key)) for key, question in questions.items()}
    return {"responses": responses, "request_state": payload["request_state"]}


def _response(question: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    if isinstance(answer, Mapping) and answer.get("action") in _ACTIONS:
        content = answer.get("content")
        return {"action": answer["action"], **({"content": dict(content)} if isinstance(content, Mapping) else {})}
    fields: Mapping[str, Any] = question.get("schema", {}).get("properties", {})
    if isinstance(answer, Mapping) and "url" not in question:
        return {"action": "accept", "content": dict(answer)}
    if len(fields) == 1:
        ((name, field),) = fields.items()
        value = _converted(field, answer)
        return {"action": "cancel"} if value is None else {"action": "accept", "content": {name: value}}
    agreed = _converted({"type": "boolean"}, answer) if not fields else None
    if agreed is None:
        return {"action": "cancel"}
    return {"action": "accept" if agreed else "decline"} | ({"content": {}} if agreed and "url" not in question else {})


def _converted(field: Mapping[str, Any], answer: Any) -> Any:
    """Convert an answer to the type of a field; None when that is not possible."""
    kind = field.get("type", "string")
    if kind == "boolean":
        words = {True: True, False: False} | dict.fromkeys(_YES, True) | dict.fromkeys(_NO, False)
        return words.get(answer.strip().lower() if isinstance(answer, str) else answer)
    if kind in ("integer", "number"):
        return answer if isinstance(answer, int | float) and not isinstance(answer, bool) else None
    return answer if answer is None or isinstance(answer, str | list) else json.dumps(answer)


def _parse(answer: str) -> Any:
    """Parse a person's answer as JSON when it is an object or a number."""
    try:
        value = json.loads(answer)
    except ValueError:
        return answer
    return value if isinstance(value, dict | int | float) and not isinstance(value, bool) else answer


def _kind(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    return {"boolean": "yes or no"}.get(field.get("type", ""), str(field.get("type", "text")))
