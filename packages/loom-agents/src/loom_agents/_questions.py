"""Questions of the model to the user: a call of `ask_user` is answered by a person, in any process, whenever.

The run waits for the signal `input`. Its payload is the answer as a text, `{"text": ...}`, or `{CALL_ID: ...}`; the
first two answer the first open question.
"""

from collections.abc import Mapping
from typing import Any, Final

from loom_agents._calls import failed, refusal
from loom_agents._messages import ToolCall, ToolMessage, storable
from loom_agents._model import ToolSpec

INPUT_SIGNAL: Final = "input"
ASK_USER: Final = ToolSpec(
    "ask_user",
    "Ask the user a question and wait for the answer. Only for what you cannot find out yourself.",
    {
        "type": "object",
        "properties": {"question": {"type": "string", "description": "what you want to know, in one or two sentences"}},
        "required": ["question"],
        "additionalProperties": False,
    },
)


def is_question(call: ToolCall) -> bool:
    """Say whether a call waits for the user, and nothing is wrong about it."""
    return call.name == ASK_USER.name and check_question(call) is None


def check_question(call: ToolCall) -> ToolMessage | None:
    """Answer a question that is none; None for a good one."""
    text = call.arguments.get("question")
    if (refused := refusal(call)) is not None:
        return refused
    if not isinstance(text, str) or not text.strip() or set(call.arguments) != {"question"}:
        return failed(call, 'cannot call ask_user: it takes one argument, {"question": "..."}.')
    return None


def question_text(call: ToolCall) -> str:
    """What the user is asked."""
    return str(call.arguments["question"])


def answered(open_calls: tuple[ToolCall, ...], payload: Any) -> tuple[ToolMessage, ...]:
    """Turn the payload of the signal into answers of open questions."""
    questions = [call for call in open_calls if is_question(call)]
    if isinstance(payload, Mapping) and any(call.id in payload for call in questions):
        return tuple(_answer(call, payload[call.id]) for call in questions if call.id in payload)
    said = payload["text"] if isinstance(payload, Mapping) and set(payload) == {"text"} else payload
    return tuple(_answer(call, said) for call in questions[:1])


def _answer(call: ToolCall, said: Any) -> ToolMessage:
    return ToolMessage(call.id, call.name, "success", {"answer": storable(said) if isinstance(said, str) else said})
