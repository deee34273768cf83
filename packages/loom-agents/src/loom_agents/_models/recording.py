"""Record the replies of a model as a script for `ScriptedModel`."""

import json
import os
from pathlib import Path

from loom_agents._errors import ScriptError
from loom_agents._models.masked_replies import masked_reply
from loom_agents._models.messages import replies_in
from loom_agents._models.protocol import Model, ModelReply, ModelRequest, OnDelta
from loom_agents._models.script_file import read_script, reply_json, script_json


class RecordingModel:
    """Forward requests to another model and write its replies, without secrets, to a script file.

    A reply's position in the script is its position in the conversation. So a run that was killed
    and resumed in another process gives the same script as an uninterrupted one, and an existing
    recording of another conversation is replaced from the first reply.

    Args:
        model: The model that answers the requests.
        path: The script, JSON; created when it is missing.

    Raises:
        ScriptError: The file exists and is not a script, or its folder does not exist.

    Durability: the file is replaced atomically after each reply; a crash leaves the previous
    version.
    """

    def __init__(self, model: Model, path: Path) -> None:
        self._model = model
        self._path = path
        self._replies = [reply_json(reply) for reply in read_script(path)] if path.exists() else []
        if not path.absolute().parent.is_dir():
            raise ScriptError(f"cannot record to {path}: there is no such folder. Create it first.")

    @property
    def name(self) -> str:
        """The name of the model that answers."""
        return self._model.name

    async def request(self, request: ModelRequest, *, on_delta: OnDelta) -> ModelReply:
        """Ask the model and record its reply.

        Raises:
            ModelError: The model gave no reply.
            ScriptError: The file lacks earlier replies of this conversation, or cannot be written.
        """
        reply = await self._model.request(request, on_delta=on_delta)
        position = request.earlier_replies + replies_in(request.messages)
        if position > len(self._replies):
            raise ScriptError(
                f"cannot record to {self._path}: it has {len(self._replies)} replies and this is number"
                f" {position + 1}. Record a conversation from its beginning."
            )
        self._replies = [*self._replies[:position], reply_json(masked_reply(reply))]
        self._write()
        return reply

    def _write(self) -> None:
        text = json.dumps(script_json(self._replies), ensure_ascii=False, indent=2)
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            new.unlink(missing_ok=True)
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(text + "\n")
            os.replace(new, self._path)  # noqa: PTH105 - documented as atomic, unlike Path.replace
        except OSError as exc:
            raise ScriptError(f"cannot record to {self._path}: {exc.strerror}.") from exc
