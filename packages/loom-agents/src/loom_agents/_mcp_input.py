"""Questions of a tool to a person, asked today and answered tomorrow by another process.

An MCP server may answer a call with questions instead of a result (`InputRequiredResult`). Nothing waits in memory
for them: the questions are the recorded payload of the call, the run parks on the signal `input`, and whoever goes on
with it makes the call again with the answers and the server's own sealed `request_state`. The rounds of one call have
keys of their own (`id`, `id/1`, `id/2`), so that each is recorded once.

    payload of a call   {"input_required": {"confirm": {"message": "Delete 3 files?", "schema": {...}}},
                         "request_state": "..."}
    payload of `input`  {"confirm": {"action": "accept", "content": {"ok": true}}}
    what is sent again  the arguments, and `_input={"responses": {...}, "request_state": "..."}`
"""

import json
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["INPUT_ARGUMENT", "answers_to", "asks_for_input", "question_payload", "shown_question"]

INPUT_ARGUMENT: Final = "_input"
_MARK: Final = "input_required"
_ACTIONS: Final = ("accept", "decline", "cancel")
_YES: Final = ("yes", "y", "true", "ok")
_NO: Final = ("no", "n", "false")


def question_payload(questions: Mapping[str, Mapping[str, Any]], request_state: str | None) -> dict[str, Any]:
    """Build the payload of a call that asks.

    Args:
        questions: by the server's key, each with `message` and either `schema` (of the answer) or `url` (to visit).
        request_state: the server's own memory of the call, to be given back unread.
    """
    return {_MARK: {key: dict(question) for key, question in questions.items()}, "request_state": request_state}


def asks_for_input(payload: Any) -> bool:
    """Say whether a payload asks instead of answering."""
    return isinstance(payload, Mapping) and set(payload) == {_MARK, "request_state"} and bool(payload[_MARK])


def shown_question(payload: Mapping[str, Any]) -> str:
    """Write the questions for a person, with what an answer looks like."""
    lines = []
    for key, question in payload[_MARK].items():
        if "url" in question:
            wanted = f"open {question['url']}, then say yes or no"
        else:
            fields = question.get("schema", {}).get("properties", {})
            wanted = ", ".join(f"{name}: {_kind(field)}" for name, field in fields.items()) or "yes or no"
        prefix = f"{key}: " if len(payload[_MARK]) > 1 else ""
        lines.append(f"{prefix}{question['message']} ({wanted})")
    return "\n".join(lines)


def answers_to(payload: Mapping[str, Any], said: Any) -> dict[str, Any]:
    """Build the argument `_input` for the next round from what a person said.

    Args:
        payload: the questions.
        said: an object with an answer for each key; with one question, its answer alone is enough: an object with
            `action`, the form's content, or the one value that it asks for, also as a text. What has no answer that
            fits is cancelled.
    """
    questions: Mapping[str, Any] = payload[_MARK]
    if isinstance(said, str):
        said = _read(said)
    whole = said if isinstance(said, Mapping) and questions.keys() & said.keys() else None
    if whole is None:
        whole = {next(iter(questions)): said} if len(questions) == 1 else {}
    responses = {key: _answer(question, whole.get(key)) for key, question in questions.items()}
    return {"responses": responses, "request_state": payload["request_state"]}


def _answer(question: Mapping[str, Any], said: Any) -> dict[str, Any]:
    if isinstance(said, Mapping) and said.get("action") in _ACTIONS:
        content = said.get("content")
        return {"action": said["action"], **({"content": dict(content)} if isinstance(content, Mapping) else {})}
    fields: Mapping[str, Any] = question.get("schema", {}).get("properties", {})
    if isinstance(said, Mapping) and "url" not in question:
        return {"action": "accept", "content": dict(said)}
    if len(fields) == 1:
        ((name, field),) = fields.items()
        value = _fitting(field, said)
        return {"action": "cancel"} if value is None else {"action": "accept", "content": {name: value}}
    agreed = _fitting({"type": "boolean"}, said) if not fields else None
    if agreed is None:
        return {"action": "cancel"}
    return {"action": "accept" if agreed else "decline"} | ({"content": {}} if agreed and "url" not in question else {})


def _fitting(field: Mapping[str, Any], said: Any) -> Any:
    """Give what was said as the kind of value that a field wants; None when it is none."""
    kind = field.get("type", "string")
    if kind == "boolean":
        words = {True: True, False: False} | dict.fromkeys(_YES, True) | dict.fromkeys(_NO, False)
        return words.get(said.strip().lower() if isinstance(said, str) else said)
    if kind in ("integer", "number"):
        return said if isinstance(said, int | float) and not isinstance(said, bool) else None
    return said if said is None or isinstance(said, str | list) else json.dumps(said)


def _read(said: str) -> Any:
    """Read a text as JSON when it is an object or a number, as a person may write it."""
    try:
        value = json.loads(said)
    except ValueError:
        return said
    return value if isinstance(value, dict | int | float) and not isinstance(value, bool) else said


def _kind(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    return {"boolean": "yes or no"}.get(field.get("type", ""), str(field.get("type", "text")))
