"""A model that replies from a script: deterministic, offline, without dependencies.

The position in the script is the number of replies in the conversation; nothing is counted in
memory. So a run that was killed continues with the right reply in the next process.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from loom_agents._errors import ScriptError
from loom_agents._models.messages import CHARACTERS_PER_TOKEN, ToolMessage, Usage, replies_in
from loom_agents._models.protocol import ModelReply, ModelRequest, OnDelta
from loom_agents._models.script_file import read_script


class ScriptedModel:
    """Reply from a list, a function or a script file.

    Args:
        script: The replies in order (a string stands for a reply without tool calls), or a function
            that returns the reply to a request.
        name: Shown in the trace and stored with each reply.

    Token counts of a reply without `usage` are estimates: one token per four characters.
    """

    def __init__(
        self,
        script: Sequence[ModelReply | str] | Callable[[ModelRequest], ModelReply | str],
        *,
        name: str = "scripted",
    ) -> None:
        self._script = script if callable(script) else tuple(script)
        self._name = name

    @classmethod
    def from_file(cls, path: Path, *, agent: str | None = None) -> "ScriptedModel":
        """Read a script (JSON, or YAML by its suffix); the README describes the format.

        Args:
            path: The file.
            agent: Read the replies of this agent of a team instead.

        Raises:
            ScriptError: The file is missing or is not a script; the message names the place.
        """
        return cls(read_script(path, agent=agent), name=f"script:{path.name}")

    @property
    def name(self) -> str:
        """The name of the model."""
        return self._name

    async def request(self, request: ModelRequest, *, on_delta: OnDelta) -> ModelReply:
        """Return the script's next reply; its text goes to `on_delta` word by word.

        Raises:
            ScriptError: The script has no further reply.
        """
        reply = self._next(request)
        for piece in re.findall(r"\S+\s*|\s+", reply.text):
            on_delta(piece)
        usage = reply.usage if reply.usage.requests else _estimate(request, reply)
        finish = "tool_calls" if reply.tool_calls else reply.finish_reason
        return replace(reply, usage=usage, model=reply.model or self._name, finish_reason=finish)

    def _next(self, request: ModelRequest) -> ModelReply:
        if callable(self._script):
            reply = self._script(request)
        else:
            position = request.earlier_replies + replies_in(request.messages)
            if position >= len(self._script):
                raise ScriptError(
                    f"cannot answer: the script {self._name!r} has {len(self._script)} replies and this is"
                    f" request {position + 1}. Add a reply to the script."
                )
            reply = self._script[position]
        return ModelReply(reply) if isinstance(reply, str) else reply


def _estimate(request: ModelRequest, reply: ModelReply) -> Usage:
    read = len(request.system)
    for message in request.messages:
        read += len(str(message.payload)) if isinstance(message, ToolMessage) else len(message.text)
    written = len(reply.text) + sum(len(call.name) + len(str(dict(call.arguments))) for call in reply.tool_calls)
    return Usage(
        requests=1,
        input_tokens=math.ceil(read / CHARACTERS_PER_TOKEN),
        output_tokens=math.ceil(written / CHARACTERS_PER_TOKEN),
    )
