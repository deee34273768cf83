"""Chats, as they are served over HTTP: what a client may say about them, and what it is shown."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from loom_agents import AgentState, MessageFormatError
from loom_agents.serve import Caller, Observer
from loom_runner import RunEvent, RunnerError, SQLiteStore
from loom_runner.cli_base import shorten, write_error

from loom_run._chat import Conversation, Desk, Limits
from loom_run._errors import LoomRunError
from loom_run._lines import printable
from loom_run._progress import Progress
from loom_run._setup import SetupChange
from loom_run._stores import new_run_id
from loom_run._trusting import Trusting
from loom_run._turn import standing_of, state_of

__all__ = ["ServedChats"]

_LIMITS: Final = {"max_tokens": int, "max_cost_usd": float, "max_requests": int}


class _Relay(Progress):
    """Pass events on instead of printing them."""

    def __init__(self, heard: Observer) -> None:
        super().__init__("json", is_live=False)
        self._heard = heard

    def __call__(self, event: RunEvent) -> None:
        """Take one event of the runner."""
        self._heard(event)

    def note(self, text: str) -> None:
        """Tell whoever looks after the server."""
        write_error(printable(text))


@dataclass(frozen=True, slots=True)
class ServedChats:
    """Serve the chats of one database.

    A client says what to do and how much it may cost. Folder, model, mode and servers are the command line's.

    Args:
        store: the database.
        change: the setup of chats that are started here; it cannot ask anybody any more.
    """

    store: SQLiteStore
    change: SetupChange

    @property
    def name(self) -> str:
        """What the page calls itself."""
        return "loom-run"

    def objection(self, approval: Mapping[str, Any], caller: Caller, how: str) -> str | None:
        """Leave it to the scopes of the token who may decide."""
        del approval, caller, how
        return None

    async def start(self, run_id: str, request: Mapping[str, Any], observer: Observer) -> None:
        """Start a chat with its first message."""
        message, limits = _request(request)
        conversation = Conversation(self.store, run_id)
        if not conversation.exists():
            limits = self.change.first_limits() | limits
            await conversation.begin(message, self.change.first(), limits, _desk(observer))
            return
        first = next((m["text"] for m in _messages(conversation.look().state) if m["role"] == "user"), None)
        if message != first:
            raise LoomRunError(
                f"cannot start {run_id!r}: there is a chat of this name that began with another message."
                " Choose another one, or send it a message.",
                run_id=run_id,
            )
        await conversation.go_on(self._same(), {}, _desk(observer))

    async def say(self, run_id: str, message: str, observer: Observer) -> None:
        """Send the next message, or the answer to a question."""
        await Conversation(self.store, run_id).say(message, self._same(), {}, _desk(observer), repeat=True)

    async def resume(self, run_id: str, observer: Observer) -> None:
        """Go on with a chat."""
        await Conversation(self.store, run_id).go_on(self._same(), {}, _desk(observer))

    def new_run_id(self) -> str:
        """Name a chat."""
        return new_run_id()

    def about(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """Say what a run is about; one of another program only by its status."""
        state = _state(run)
        if state is None:
            return {"title": "", "standing": run["status"], "can_talk": False}
        return {
            "title": shorten(state.last_user_text or "", 200),
            "standing": standing_of(run["status"], run["wait"], run["error"]),
            "can_talk": True,
            "turn": state.turn,
            "usage": state.usage.to_json(),
        }

    def shown(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """Give the conversation."""
        state = _state(run)
        if state is None:
            return {"messages": [], "state": run["state"]}
        return {
            "messages": _messages(state),
            "answer": state.answer,
            "question": state.question,
            "setup": dict(state.setup),
        }

    def _same(self) -> SetupChange:
        """Change nothing about a chat that exists; its files are still looked at."""
        return SetupChange(trusting=Trusting())


def _request(request: Mapping[str, Any]) -> tuple[str, Limits]:
    unknown = sorted(request.keys() - {"message", *_LIMITS})
    if unknown:
        known = ", ".join(("message", *_LIMITS))
        raise LoomRunError(f"cannot start a chat: {unknown[0]!r} is not known. Known are {known}.")
    message = request.get("message")
    if not isinstance(message, str) or not message.strip():
        raise LoomRunError("cannot start a chat: `message` is missing or empty. Say something.")
    limits: Limits = {}
    for name, kind in _LIMITS.items():
        value = request.get(name)
        if value is None:
            continue
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or value < 0 or (kind is int and value != int(value)):
            raise LoomRunError(f"cannot start a chat: {name} is {json.dumps(value)}, which is no number that fits.")
        limits[name] = kind(value)
    return message.encode("utf-8", "replace").decode(), limits


def _desk(observer: Observer) -> Desk:
    return Desk(_Relay(observer))


def _state(run: Mapping[str, Any]) -> AgentState | None:
    try:
        return state_of(run["run_id"], run["state"])
    except (RunnerError, MessageFormatError):
        return None


def _messages(state: AgentState) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = state.to_json()["conversation"]["messages"]
    return messages
