"""The protocol of language models: one request in, one reply out.

A model does not store the conversation, retry, or run tools: the runner retries, and the
coordinator does the rest. So one request is one HTTP request, and one step of the run.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from loom_agents._models.messages import FinishReason, Message, ToolCall, Usage

OnDelta: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """Describe a tool to the model.

    Args:
        name: Its name in tool calls.
        description: What it does, for the model.
        parameters: JSON Schema of its arguments, an object schema.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """Hold everything that a model needs for one reply.

    Args:
        system: The system prompt.
        messages: The conversation so far; every tool call in it is answered.
        tools: The tools that the reply may call.
        earlier_replies: How many earlier replies of the model are not among the messages; a script
            needs it to find its position.
    """

    system: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    earlier_replies: int = 0


@dataclass(frozen=True, slots=True)
class ModelReply:
    """Hold the model's reply.

    Args:
        text: Its text; may be empty when it only calls tools.
        tool_calls: The tools that it calls; several may run in parallel.
        usage: The usage of this request.
        model: The name of the model, as the provider reports it.
        finish_reason: Why it stopped.
        details: JSON that this model must get back with the message in later requests.
    """

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = field(default_factory=Usage)
    model: str = ""
    finish_reason: FinishReason = "stop"
    details: Mapping[str, Any] | None = None


class Model(Protocol):
    """A language model. `ScriptedModel` is an implementation that works offline."""

    @property
    def name(self) -> str:
        """The name of the model to display: `provider:model`."""
        ...

    async def request(self, request: ModelRequest, *, on_delta: OnDelta) -> ModelReply:
        """Send one request and return the complete reply.

        Args:
            request: The conversation, the tools and the system prompt.
            on_delta: Called with each piece of the reply's text as it arrives.

        Raises:
            ModelError: There is no reply; `retryable` says whether the runner may try again.
        """
        ...
