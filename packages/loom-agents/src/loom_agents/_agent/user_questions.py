"""Questions of the model to the user, who answers a call of `ask_user` at any time.

The run waits for the signal `input`. Its payload is the answer as text, `{"text": ...}`, or
`{CALL_ID: ...}`; the first two answer the first open question.
"""

from collections.abc import Mapping
from typing import Any, Final

from loom_agents._agent.tool_calls import failed, refusal
from loom_agents._models.messages import ToolCall, ToolMessage, storable
from loom_agents._models.protocol import ToolSpec

INPUT_SIGNAL: Final = "input"
ASK_USER: Final = ToolSpec(
    "ask_user",
    "Ask the user a question and wait for the answer. Use it only for what you cannot find out yourself.",
    {
        "type": "object",
        "properties": {
            "question": {"type": "string", "description": "What you want to know, in one or two sentences."}
        },
        "required": ["question"],
        "additionalProperties": False,
    },
)


def is_question(call: ToolCall) -> bool:
    """Report whether a call is a valid question to the user."""
    return call.name == ASK_USER.name and check_question(call) is None


def check_question(call: ToolCall) -> ToolMessage | None:
    """Return an error for an invalid question; None for a valid one."""
    text = call.arguments.get("question")
    if (refused := refusal(call)) is not None:
        return refused
    if not isinstance(text, str) or not text.strip() or set(call.arguments) != {"question"}:
        return failed(call, 'cannot call ask_user: it takes one argument, {"question": "..."}.')
    return None


def question_text(call: ToolCall) -> str:
    """Return the question to the user."""
    return str(call.arguments["question"])


def answer_questions(open_calls: tuple[ToolCall, ...], payload: Any) -> tuple[ToolMessage, ...]:
    """Convert the payload of the signal to answers to open questions."""
    questions = [call for call in open_calls if is_question(call)]
    if isinstance(payload, Mapping) and any(call.id in payload for call in questions):
        return tuple(_answer(call, payload[call.id]) for call in questions if call.id in payload)
    answer = payload["text"] if isinstance(payload, Mapping) and set(payload) == {"text"} else payload
    return tuple(_answer(call, answer) for call in questions[:1])


def _answer(call: ToolCall, answer: Any) -> ToolMessage:
    text = storable(answer) if isinstance(answer, str) else answer
    return ToolMessage(call.id, call.name, "success", {"answer": text})
