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

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["INPUT_ARGUMENT", "INPUT_SIGNAL", "answers_to", "is_question", "question_payload"]

INPUT_SIGNAL: Final = "input"
INPUT_ARGUMENT: Final = "_input"
_MARK: Final = "input_required"
_ACTIONS: Final = ("accept", "decline", "cancel")


def question_payload(questions: Mapping[str, Mapping[str, Any]], request_state: str | None) -> dict[str, Any]:
    """Build the payload of a call that asks.

    Args:
        questions: by the server's key, each with `message` and either `schema` (of the answer) or `url` (to visit).
        request_state: the server's own memory of the call, to be given back unread.
    """
    return {_MARK: {key: dict(question) for key, question in questions.items()}, "request_state": request_state}


def is_question(payload: Any) -> bool:
    """Say whether a payload asks instead of answering."""
    return isinstance(payload, Mapping) and set(payload) == {_MARK, "request_state"} and bool(payload[_MARK])


def answers_to(payload: Mapping[str, Any], said: Any) -> dict[str, Any]:
    """Build the argument `_input` for the next round from what a person said.

    Args:
        payload: the questions.
        said: an object with an answer for each key; with one question, its answer alone is enough: an object with
            `action`, the form's content, or the one value that it asks for. What has no answer is cancelled.
    """
    questions: Mapping[str, Any] = payload[_MARK]
    whole = said if isinstance(said, Mapping) and questions.keys() & said.keys() else None
    if whole is None:
        whole = {next(iter(questions)): said} if len(questions) == 1 else {}
    responses = {key: _answer(question, whole.get(key)) for key, question in questions.items()}
    return {"responses": responses, "request_state": payload["request_state"]}


def _answer(question: Mapping[str, Any], said: Any) -> dict[str, Any]:
    if said is None:
        return {"action": "cancel"}
    if isinstance(said, Mapping):
        if said.get("action") in _ACTIONS:
            content = said.get("content")
            return {"action": said["action"], **({"content": dict(content)} if isinstance(content, Mapping) else {})}
        return {"action": "accept", "content": dict(said)}
    fields = list(question.get("schema", {}).get("properties", {}))
    return {"action": "accept", "content": {fields[0]: said}} if len(fields) == 1 else {"action": "cancel"}
