"""The messages of a conversation, independent of any provider, and their stored form.

A conversation is a tuple of messages. Every tool call of an assistant message is answered by one
tool message with the same call id before the next assistant message. The stored form includes the
version of the format, so that old rows stay readable and newer ones are rejected.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias

from loom_agents._errors import MessageFormatError

MESSAGES_FORMAT = "loom-messages/1"

CHARACTERS_PER_TOKEN = 4
"""A common estimate for English text, used because no tokenizer is available."""

FinishReason = Literal["stop", "tool_calls", "length", "refused"]

ToolOutcome = Literal["success", "failed", "denied", "interrupted"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Hold the usage of model requests.

    Args:
        requests: Model requests that got a reply.
        input_tokens: Tokens read by the model, cached ones included.
        cache_read_tokens: The part of `input_tokens` that came from the provider's cache.
        output_tokens: Tokens written by the model.
        cost_usd: Price in US dollars; None when any part of it is unknown.
    """

    requests: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        unknown = self.cost_usd is None or other.cost_usd is None
        return Usage(
            requests=self.requests + other.requests,
            input_tokens=self.input_tokens + other.input_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost_usd=None if unknown else (self.cost_usd or 0.0) + (other.cost_usd or 0.0),
        )

    def __sub__(self, earlier: "Usage") -> "Usage":
        """The usage since `earlier`."""
        unknown = self.cost_usd is None or earlier.cost_usd is None
        return Usage(
            requests=self.requests - earlier.requests,
            input_tokens=self.input_tokens - earlier.input_tokens,
            cache_read_tokens=self.cache_read_tokens - earlier.cache_read_tokens,
            output_tokens=self.output_tokens - earlier.output_tokens,
            cost_usd=None if unknown else (self.cost_usd or 0.0) - (earlier.cost_usd or 0.0),
        )

    @property
    def total_tokens(self) -> int:
        """Input and output tokens together."""
        return self.input_tokens + self.output_tokens

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {
            "requests": self.requests,
            "input_tokens": self.input_tokens,
            "cache_read_tokens": self.cache_read_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": self.cost_usd,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Usage":
        """Read the stored form."""
        return cls(**{item.name: data[item.name] for item in fields(cls) if item.name in data})


@dataclass(frozen=True, slots=True)
class ToolCall:
    """Hold one call of a tool by the model.

    Args:
        id: Unique in the conversation; the answer has the same one.
        name: The tool.
        arguments: Its arguments by name.
        malformed: The arguments as the model wrote them, when they were not a JSON object;
            `arguments` is empty then.
    """

    id: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    malformed: str | None = None

    @classmethod
    def parse(cls, call_id: str, name: str, arguments: str | Mapping[str, Any] | None) -> "ToolCall":
        """Build a call from what a model wrote, which may be anything."""
        if arguments is None or arguments == "":
            return cls(call_id, name)
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        try:
            value = json.loads(text, parse_constant=_refuse_constant)
            json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair cannot be stored
        except (ValueError, RecursionError):
            return cls(call_id, name, malformed=storable(text))
        return cls(call_id, name, value) if isinstance(value, dict) else cls(call_id, name, malformed=text)


@dataclass(frozen=True, slots=True)
class UserMessage:
    """Hold a message of the user."""

    text: str


@dataclass(frozen=True, slots=True)
class AssistantMessage:
    """Hold a reply of the model: its text, its tool calls, and why it stopped.

    Args:
        text: Its text.
        tool_calls: The tools that it calls.
        model: The name of the model, as the provider reports it.
        finish_reason: Why it stopped.
        details: JSON that the model's adapter needs back with this message; nothing else reads it.
    """

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    model: str = ""
    finish_reason: FinishReason = "stop"
    details: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ToolMessage:
    """Hold the answer to one tool call.

    Args:
        call_id: The id of the call that it answers.
        name: The tool.
        outcome: How the call ended; `interrupted` means that it is unknown whether the call took
            effect.
        payload: The tool's JSON value; the error text when the outcome is not `success`.
    """

    call_id: str
    name: str
    outcome: ToolOutcome
    payload: Any


@dataclass(frozen=True, slots=True)
class SummaryMessage:
    """Replace the beginning of a conversation by a summary (see `_agent.compaction`).

    Args:
        text: The summary.
        turns: How many messages of the user it replaces.
        replies: How many replies of the model it replaces, the one with the summary included.
        turn_replies: How many of them belong to the turn that continues after it.
    """

    text: str
    turns: int
    replies: int
    turn_replies: int = 0


Message: TypeAlias = UserMessage | AssistantMessage | ToolMessage | SummaryMessage


def replies_in(messages: Iterable[Message]) -> int:
    """Count the replies of the model so far, those replaced by a summary included."""
    return sum(
        message.replies if isinstance(message, SummaryMessage) else isinstance(message, AssistantMessage)
        for message in messages
    )


def dump_messages(messages: Iterable[Message]) -> dict[str, Any]:
    """Return the stored form of a conversation: a JSON object with its format version."""
    return {"format": MESSAGES_FORMAT, "messages": [_dump(message) for message in messages]}


def load_messages(data: Any) -> tuple[Message, ...]:
    """Read the stored form of a conversation.

    Raises:
        MessageFormatError: Its format is not `loom-messages/1`, or it is damaged.
    """
    found = data.get("format") if isinstance(data, Mapping) else None
    if found != MESSAGES_FORMAT:
        raise MessageFormatError(
            f"cannot read the conversation: its format is {found!r} and this version reads"
            f" {MESSAGES_FORMAT!r}. Use the version of loom-agents that wrote it, or a newer one."
        )
    try:
        return tuple(_load(item) for item in data["messages"])
    except (KeyError, TypeError, AttributeError) as exc:
        raise MessageFormatError(
            f"cannot read the conversation: a message in it is damaged ({type(exc).__name__}: {exc})."
            " Look at the stored state; it is plain JSON."
        ) from exc


def renumbered(calls: Sequence[ToolCall], taken: Iterable[str]) -> tuple[ToolCall, ...]:
    """Return the calls with ids that are unique in the conversation.

    Some providers send empty ids or the same id twice; an answer could then not be matched with its
    call.

    Args:
        calls: The calls of one reply.
        taken: The ids that the conversation already uses.
    """
    used = set(taken)
    result = []
    for call in calls:
        base = unique = storable(call.id) or "call"
        number = 1
        while unique in used:
            number += 1
            unique = f"{base}-{number}"
        used.add(unique)
        result.append(ToolCall(unique, storable(call.name), call.arguments, call.malformed))
    return tuple(result)


def call_json(call: ToolCall) -> dict[str, Any]:
    """Return the JSON of a tool call in scripts and events; malformed arguments as text."""
    arguments = dict(call.arguments) if call.malformed is None else call.malformed
    return {"id": call.id, "name": call.name, "arguments": arguments}


def storable(text: str) -> str:
    """Replace what UTF-8 cannot encode (halves of surrogate pairs)."""
    return text.encode("utf-8", "replace").decode()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _dump(message: Message) -> dict[str, Any]:
    match message:
        case UserMessage():
            return {"role": "user", "text": message.text}
        case AssistantMessage():
            return {
                "role": "assistant",
                "text": message.text,
                "tool_calls": [_dump_call(call) for call in message.tool_calls],
                "model": message.model,
                "finish_reason": message.finish_reason,
                **({} if message.details is None else {"details": dict(message.details)}),
            }
        case ToolMessage():
            return {
                "role": "tool",
                "call_id": message.call_id,
                "name": message.name,
                "outcome": message.outcome,
                "payload": message.payload,
            }
        case SummaryMessage():
            return {
                "role": "summary",
                "text": message.text,
                "turns": message.turns,
                "replies": message.replies,
                "turn_replies": message.turn_replies,
            }


def _dump_call(call: ToolCall) -> dict[str, Any]:
    stored: dict[str, Any] = {"id": call.id, "name": call.name, "arguments": dict(call.arguments)}
    if call.malformed is not None:
        stored["malformed"] = call.malformed
    return stored


def _load(item: Mapping[str, Any]) -> Message:
    role = item["role"]
    if role == "user":
        return UserMessage(item["text"])
    if role == "assistant":
        calls = tuple(ToolCall(c["id"], c["name"], c["arguments"], c.get("malformed")) for c in item["tool_calls"])
        return AssistantMessage(item["text"], calls, item["model"], item["finish_reason"], item.get("details"))
    if role == "tool":
        return ToolMessage(item["call_id"], item["name"], item["outcome"], item["payload"])
    if role == "summary":
        return SummaryMessage(item["text"], item["turns"], item["replies"], item["turn_replies"])
    raise KeyError(f"role {role!r}")
