"""The status of a conversation: what commands print, and their exit code."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from loom_agents import INPUT_SIGNAL, MESSAGE_SIGNAL, AgentState, ToolMessage, UserMessage
from loom_agents.cli import Request
from loom_runner.cli_base import ExitCode, exit_code_of_status

from loom_run._errors import LoomRunError

RunStatus = Literal[
    "created", "running", "interrupted", "waiting", "paused", "completed", "failed", "cancelled", "parked"
]
ChatStatus: TypeAlias = Literal["answered", "limit", "approval", "question"] | RunStatus

LIMIT_OPTIONS: Mapping[str, str] = {
    "tokens": "--max-tokens",
    "cost_usd": "--max-cost",
    "steps": "--max-requests",
    "time_s": "--timeout",
}
"""The option that raises each part of a budget."""

_STATUS_OF_SIGNAL: Mapping[str | None, ChatStatus] = {
    MESSAGE_SIGNAL: "answered",
    INPUT_SIGNAL: "question",
}


@dataclass(frozen=True, slots=True)
class Turn:
    """Describe a conversation as it is after a command.

    Args:
        run_id: the run.
        status: `answered` when the last message has its answer; `limit` when the budget is used up;
            `approval` when tool calls wait for approval; `question` when the model asked the user
            something; otherwise the status of the run.
        step_index: how many steps are committed.
        state: the conversation.
        was_stored: nothing ran now; the answer was there already.
        error: why the run failed, as the runner stores it.
        wait: what it waits for, as the runner stores it.
        pending: the requests for approval without a decision, of this run and its children.
    """

    run_id: str
    status: ChatStatus
    step_index: int
    state: AgentState
    was_stored: bool = False
    error: dict[str, Any] | None = None
    wait: dict[str, Any] | None = None
    pending: tuple[Request, ...] = ()

    @property
    def answer(self) -> str | None:
        """The answer to the last message; None while there is none, whatever was answered
        before.
        """
        return self.state.answer if self.status == "answered" else None

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a command that ends with this status."""
        if self.status == "answered":
            return ExitCode.DENIED if self.denials else ExitCode.DONE
        if self.status == "approval" or self.status == "question":  # noqa: PLR1714 - a type checker follows this
            return ExitCode.WAITING
        if self.status == "limit":
            return ExitCode.LIMIT
        if self.status == "failed" and self.error and self.error["type"] == "ModelError":
            return ExitCode.PROVIDER
        return exit_code_of_status(self.status)

    @property
    def question(self) -> str | None:
        """The question that waits for the user; None when there is none."""
        return self.state.question if self.status == "question" else None

    @property
    def denials(self) -> list[dict[str, Any]]:
        """The tool calls of this turn that were denied."""
        found: list[dict[str, Any]] = []
        for message in reversed(self.state.messages):
            if isinstance(message, UserMessage):
                break
            if isinstance(message, ToolMessage) and message.outcome == "denied":
                found.insert(0, {"tool": message.name, "call_id": message.call_id, "why": message.payload})
        return found

    @property
    def limit(self) -> str | None:
        """The limit that was reached, as a sentence without a full stop; None when none was."""
        if self.status != "limit" or self.error is None:
            return None
        part, value = self._exhausted()
        used = self.state.total_usage
        if part == "steps":
            from loom_run._config.setup import Setup  # lists of chats do without it, and its imports are slow

            allowed = Setup.from_json(self.state.setup).max_requests
            return f"{self.state.turn_requests} model requests in this turn; the limit is {allowed}"
        if part == "tokens":
            return f"{used.total_tokens:,} tokens used; the limit is {value}"
        if part == "cost_usd":
            return f"${used.cost_usd or 0:.4f} spent; the limit is ${float(value):.2f}"
        if part == "time_s":
            return f"the run has worked for {value} s, which is the limit"
        return str(self.error["message"]).rstrip(".")

    @property
    def limit_option(self) -> str | None:
        """The option that raises the limit, when there is one."""
        return LIMIT_OPTIONS.get(self._exhausted()[0])

    def _exhausted(self) -> tuple[str, str]:
        """Return the part of the budget that is used up, and its limit; empty texts when it is not
        the budget.
        """
        found = re.search(r"budget of (\w+) ([\d.e+]+)", str((self.error or {}).get("message", "")))
        return (found[1], found[2].rstrip(".")) if found else ("", "")

    def to_json(self) -> dict[str, Any]:
        """Return what `--output json` prints."""
        return {
            "run_id": self.run_id,
            "status": self.status,
            "turn": self.state.turn,
            "answer": self.answer,
            "step_index": self.step_index,
            "was_stored": self.was_stored,
            "usage": self.state.total_usage.to_json(),
            "reason": self.limit,
            "wait": self.wait,
            "question": self.question,
            "pending": [dict(request) for request in self.pending],
            "denials": self.denials,
            "error": self.error,
        }


def is_chat(state: Any) -> bool:
    """Return whether a run's state is that of a chat of `loom-run`: a conversation with its setup.

    Agents of other programs store conversations, too, but not this setup.
    """
    setup = state.get("setup") if isinstance(state, dict) and "conversation" in state else None
    return isinstance(setup, dict) and "workspace" in setup


def chat_state(run_id: str, state: Any) -> AgentState:
    """Decode the conversation in a run's state.

    Raises:
        LoomRunError: The run is not a chat of `loom-run`.
    """
    if not is_chat(state):
        raise LoomRunError(
            f"cannot continue {run_id!r}: it is a run of another program. Choose another --run-id.",
            run_id=run_id,
        )
    return AgentState.from_json(state)


def chat_status(
    status: RunStatus, wait: Mapping[str, Any] | None, error: Mapping[str, Any] | None = None
) -> ChatStatus:
    """Return the status of a conversation: from the status of its run, what that waits for, and why
    it stopped.
    """
    if status in {"paused", "failed"} and error is not None and error["category"] == "limit":
        return "limit"
    signal = (wait or {}).get("signal")
    if status == "waiting" and "doubt" not in (wait or {}):
        if "approvals" in (wait or {}):
            return "approval"
        if signal in _STATUS_OF_SIGNAL:
            return _STATUS_OF_SIGNAL[signal]
    return "answered" if status == "completed" else status
