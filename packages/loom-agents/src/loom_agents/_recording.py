"""Write down what a model says, as a script that `ScriptedModel` plays again."""

import json
import os
from pathlib import Path
from typing import Any

from loom_agents._errors import ScriptError
from loom_agents._messages import ToolCall, replies_in
from loom_agents._model import Model, ModelReply, ModelRequest, OnDelta
from loom_agents._script_file import SCRIPT_FORMAT, read_script


class RecordingModel:
    """Pass requests on to another model and keep its replies in a script file.

    A reply's place in the script is its place in the conversation, so a run that was killed and resumed, in another
    process, gives the same script as one that was not; a recording of another conversation is replaced from the
    first reply on.

    Args:
        model: answers the requests.
        path: the script, JSON; made when it is missing.

    Raises:
        ScriptError: there is a file that is not a script, or it cannot be written.

    Durability: the file is replaced as a whole after each reply; a crash leaves the one before.
    """

    def __init__(self, model: Model, path: Path) -> None:
        self._model = model
        self._path = path
        self._replies = [_stored(reply) for reply in read_script(path)] if path.exists() else []
        if not path.absolute().parent.is_dir():
            raise ScriptError(f"cannot record to {path}: there is no such folder. Make it first.")

    @property
    def name(self) -> str:
        """The name of the model that answers."""
        return self._model.name

    async def request(self, request: ModelRequest, *, on_delta: OnDelta) -> ModelReply:
        """Ask the model and write its reply down."""
        reply = await self._model.request(request, on_delta=on_delta)
        place = request.earlier_replies + replies_in(request.messages)
        if place > len(self._replies):
            raise ScriptError(
                f"cannot record to {self._path}: it has {len(self._replies)} replies and this is number"
                f" {place + 1}. Record a conversation from its beginning."
            )
        self._replies = [*self._replies[:place], _stored(reply)]
        self._write()
        return reply

    def _write(self) -> None:
        text = json.dumps({"format": SCRIPT_FORMAT, "replies": self._replies}, ensure_ascii=False, indent=2)
        beside = self._path.with_name(f"{self._path.name}.new")
        try:
            beside.write_text(text + "\n", encoding="utf-8")
            os.replace(beside, self._path)  # noqa: PTH105 - the atomic one of the two, said plainly
        except OSError as exc:
            raise ScriptError(f"cannot record to {self._path}: {exc.strerror}.") from exc


def _stored(reply: ModelReply) -> dict[str, Any]:
    usage = reply.usage.to_json()
    del usage["requests"]
    if usage["cost_usd"] is None:
        del usage["cost_usd"]
    stored: dict[str, Any] = {"text": reply.text, "tool_calls": [_stored_call(call) for call in reply.tool_calls]}
    if reply.usage.requests:
        stored["usage"] = usage
    return {name: value for name, value in stored.items() if value or name == "usage"}


def _stored_call(call: ToolCall) -> dict[str, Any]:
    arguments = dict(call.arguments) if call.malformed is None else call.malformed
    return {"id": call.id, "name": call.name, "arguments": arguments}
