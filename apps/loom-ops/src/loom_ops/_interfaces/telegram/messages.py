"""The texts and buttons of the Telegram interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loom_runner.run_ids import root_run_id
from telegram import InlineKeyboardButton, InlineKeyboardMarkup

from loom_ops._approvals.requests import step_text
from loom_ops._commands.allow_rules import argv_text
from loom_ops._interfaces.telegram.tables import code_of

if TYPE_CHECKING:
    from loom_agents.cli import Request

__all__ = ["HELP", "MAX_CHARACTERS", "approval_buttons", "approval_text", "decision_text", "unknown_user_text"]

MAX_CHARACTERS: Final = 4_000
SHOWN_CHARACTERS: Final = 12
"""How much of the hash of what a message shows is in its buttons, which hold 64 bytes."""
HELP: Final = "/approvals: what waits for approval. /runs: the latest incidents. /explain ID: what happened."

_VERDICTS: Final = {"approve": "approved", "deny": "denied"}


def approval_text(request: Request) -> str:
    """Return the message that requests an approval."""
    policy = request["policy"]
    lines = [f"{root_run_id(request['run_id'])} waits for approval", f"what: {step_text(request)}"]
    if policy.get("argv"):
        lines.append(f"undo: {argv_text(policy['undo']) if policy.get('undo') else 'none'}")
    lines += [f"why: {request['reason']}", f"who: {policy.get('group')}, requested by {policy.get('requester')}"]
    if request["expires_at"]:
        lines.append(f"until: {request['expires_at'][:16]}Z, then denied")
    return "\n".join(lines)[:MAX_CHARACTERS]


def decision_text(request: Request) -> str:
    """Return how a request was decided, and its status."""
    if not request["decisions"]:
        return f"It is {request['status']}."
    last = request["decisions"][-1]
    more = "; another person must approve, too" if request["status"] == "pending" else ""
    verdict = _VERDICTS.get(last["how"], last["how"])
    status = "" if request["status"] in ("pending", "approved", "denied") else f"; it is {request['status']}"
    return f"{verdict} by {last['by']}{more}{status}"


def unknown_user_text(user_id: int | str) -> str:
    """Return the answer to a user whom the settings do not map to a person."""
    return f"You are not registered here. Ask the operator to add your number: {user_id}"


def approval_buttons(request: Request) -> InlineKeyboardMarkup:
    """Return the buttons; they hold a code and the hash of what the message shows. The request is
    read from the database.
    """
    code = code_of(request["run_id"], request["number"])
    shown = request["final_hash"][:SHOWN_CHARACTERS]
    verdicts = (("Approve", "approve"), ("Deny", "deny"))
    pair = [InlineKeyboardButton(text, callback_data=f"{code}:{verdict}:{shown}") for text, verdict in verdicts]
    return InlineKeyboardMarkup([pair])
