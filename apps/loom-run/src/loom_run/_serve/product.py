"""Chats served over HTTP: what a client may request, and what it receives."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from loom_agents import AgentState, MessageFormatError
from loom_agents.redaction import redact_text
from loom_agents.serve import Caller, Decision, Observer
from loom_runner import LocalEngine, RunEvent, RunnerError, SQLiteStore
from loom_runner.cli_base import shorten, write_error

from loom_run._chat.conversation import Conversation, Limits, RunOptions
from loom_run._chat.database import new_run_id
from loom_run._chat.turn import chat_state, chat_status
from loom_run._config.setup_change import SetupChange
from loom_run._config.trust import TrustPrompt
from loom_run._errors import LoomRunError

__all__ = ["ServedChats"]

_LIMITS: Final = {"max_tokens": int, "max_cost_usd": float, "max_requests": int}


@dataclass(frozen=True, slots=True)
class _Relay:
    """Pass the events of a run on to the server."""

    observer: Observer

    def __call__(self, event: RunEvent) -> None:
        """Take one event of the runner."""
        self.observer(event)

    def note(self, text: str) -> None:
        """Show a notice to the person who runs the server."""
        write_error(text)


@dataclass(frozen=True, slots=True)
class ServedChats:
    """Serve the chats of one database.

    A client says what to do and how much it may cost. Folder, model, mode and MCP servers are those
    of the command line.

    Args:
        store: The database.
        change: The setup of chats that are started here; its trust prompt has no terminal.
    """

    store: SQLiteStore
    change: SetupChange

    @property
    def name(self) -> str:
        """The name on the page."""
        return "loom-run"

    async def decide(self, request: Mapping[str, Any], decision: Decision, caller: Caller) -> dict[str, Any]:
        """Record a decision; the scopes of the token alone determine who may decide."""
        return await LocalEngine(self.store).decide(
            run_id=request["run_id"],
            number=request["number"],
            how=decision.kind,
            by=caller.name,
            via="http",
            note=redact_text(decision.note),
            arguments=decision.arguments,
            shown=request["final_hash"],
        )

    async def start(self, run_id: str, request: Mapping[str, Any], observer: Observer, caller: Caller) -> None:
        """Start a chat with its first message."""
        del caller
        message, limits = _parse(request)
        conversation = Conversation(self.store, run_id)
        if not conversation.exists():
            limits = self.change.default_limits() | limits
            await conversation.start(message, self.change.new_setup(), limits, _options(observer))
            return
        first = next((m["text"] for m in _messages(conversation.read().state) if m["role"] == "user"), None)
        if redact_text(message) != first:
            raise LoomRunError(
                f"cannot start {run_id!r}: a chat with this id exists that started with another message."
                " Choose another id, or send it a message.",
                run_id=run_id,
            )
        await conversation.resume(self._no_change(), {}, _options(observer))

    async def send_message(self, run_id: str, message: str, observer: Observer) -> None:
        """Send the next message, or the answer to a question."""
        await Conversation(self.store, run_id).send(message, self._no_change(), {}, _options(observer), repeat=True)

    async def resume(self, run_id: str, observer: Observer) -> None:
        """Resume a chat."""
        await Conversation(self.store, run_id).resume(self._no_change(), {}, _options(observer))

    def new_run_id(self) -> str:
        """Return an id for a new chat."""
        return new_run_id()

    def summary(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """Describe a run for the list; for a run of another program, only its status."""
        state = _state(run)
        if state is None:
            return {"title": "", "display_status": run["status"], "accepts_messages": False}
        return {
            "title": shorten(state.last_user_text or "", 200),
            "display_status": chat_status(run["status"], run["wait"], run["error"]),
            "accepts_messages": True,
            "turn": state.turn,
            "usage": state.usage.to_json(),
        }

    def details(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """Return the conversation of a run."""
        state = _state(run)
        if state is None:
            return {"messages": [], "state": run["state"]}
        return {
            "messages": _messages(state),
            "answer": state.answer,
            "question": state.question,
            "setup": dict(state.setup),
        }

    def _no_change(self) -> SetupChange:
        """Return a change that changes nothing; the files of the chat must still be trusted."""
        return SetupChange(trust=TrustPrompt())


def _parse(request: Mapping[str, Any]) -> tuple[str, Limits]:
    unknown = sorted(request.keys() - {"message", *_LIMITS})
    if unknown:
        known = ", ".join(("message", *_LIMITS))
        raise LoomRunError(f"cannot start a chat: the member {unknown[0]!r} is unknown. Known members: {known}.")
    message = request.get("message")
    if not isinstance(message, str) or not message.strip():
        raise LoomRunError("cannot start a chat: `message` is missing or empty. Give a message.")
    limits: Limits = {}
    for name, kind in _LIMITS.items():
        value = request.get(name)
        if value is None:
            continue
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or value < 0 or (kind is int and value != int(value)):
            what = "an integer" if kind is int else "a number"
            raise LoomRunError(
                f"cannot start a chat: {name} is {json.dumps(value)}. It must be {what} of at least 0.",
            )
        limits[name] = kind(value)
    return message.encode("utf-8", "replace").decode(), limits


def _options(observer: Observer) -> RunOptions:
    return RunOptions(_Relay(observer))


def _state(run: Mapping[str, Any]) -> AgentState | None:
    try:
        return chat_state(run["run_id"], run["state"])
    except (RunnerError, MessageFormatError):
        return None


def _messages(state: AgentState) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = state.to_json()["conversation"]["messages"]
    return messages
