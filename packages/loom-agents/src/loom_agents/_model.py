"""The seam to language models: one request in, one reply out.

A model does not keep the conversation, does not retry and does not run tools. The coordinator does the first and
the last, the runner the second; so one request here is one HTTP request, and one step of the run.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from loom_agents._messages import FinishReason, Message, ToolCall, Usage

OnDelta: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """Describe a tool to the model.

    Args:
        name: how the model calls it.
        description: what it does, for the model.
        parameters: JSON Schema of its arguments, an object schema.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """Hold everything that a model needs for one reply.

    Args:
        system: standing instructions.
        messages: the conversation so far; every tool call in it is answered.
        tools: the tools that the reply may ask for.
        earlier_replies: how many replies of the model are not among the messages; a script needs it to find its place.
    """

    system: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    earlier_replies: int = 0


@dataclass(frozen=True, slots=True)
class ModelReply:
    """Hold what the model answered.

    Args:
        text: what it said; may be empty when it only asks for tools.
        tool_calls: the tools that it asks for; several may run in parallel.
        usage: what this one request used.
        model: the model's own name, as the provider reports it.
        finish_reason: why it stopped.
        details: JSON that this model wants back with the message in later requests.
    """

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = field(default_factory=Usage)
    model: str = ""
    finish_reason: FinishReason = "stop"
    details: Mapping[str, Any] | None = None


class Model(Protocol):
    """Answer one request. `ScriptedModel` is the offline one."""

    @property
    def name(self) -> str:
        """How a person would name this model (`provider:model`)."""
        ...

    async def request(self, request: ModelRequest, *, on_delta: OnDelta) -> ModelReply:
        """Send one request and return the whole reply.

        Args:
            request: the conversation, the tools and the standing instructions.
            on_delta: called with each piece of the reply's text as it arrives.

        Raises:
            ModelError: there is no reply; `retryable` says whether the runner may try again.
        """
        ...
