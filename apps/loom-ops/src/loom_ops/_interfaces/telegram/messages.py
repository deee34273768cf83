"""The texts and buttons of the Telegram interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flow_xray.terminal import visible_line
from loom_agents.cli import shown_hash
from loom_runner.run_ids import root_run_id
from telegram import InlineKeyboardButton, InlineKeyboardMarkup

from loom_ops._approvals.requests import edit_lines, final_text
from loom_ops._commands.allow_rules import argv_text
from loom_ops._interfaces.telegram.tables import code_of

if TYPE_CHECKING:
    from loom_agents.cli import Request

__all__ = [
    "HELP",
    "MAX_CHARACTERS",
    "approval_buttons",
    "approval_text",
    "decision_text",
    "short_hash",
    "unknown_user_text",
]

MAX_CHARACTERS: Final = 4_000
HELP: Final = "/approvals: what waits for approval. /runs: the latest incidents. /explain ID: what happened."

_TOO_LONG: Final = "\n... This is too long for a message. Approve it on the page or with loom-ops approve."
_VERDICTS: Final = {"approve": "approved", "deny": "denied"}


def approval_text(request: Request) -> str:
    """Return the message that requests an approval, with what an edit has changed."""
    text = _whole_text(request)
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - len(_TOO_LONG)]}{_TOO_LONG}"


def _whole_text(request: Request) -> str:
    policy = request["policy"]
    lines = [f"{root_run_id(request['run_id'])} waits for approval", f"what: {final_text(request)}"]
    lines += edit_lines(request)
    if policy.get("argv"):
        lines.append(f"undo: {argv_text(policy['undo']) if policy.get('undo') else 'none'}")
    lines += [f"why: {request['reason']}", f"who: {policy.get('group')}, requested by {policy.get('requester')}"]
    if request["expires_at"]:
        lines.append(f"until: {request['expires_at'][:16]}Z, then denied")
    return "\n".join(visible_line(line) for line in lines)


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
    """Return the buttons; each names the request by a code and its number, and what was shown by
    its hash. A request that is too long to be shown can only be denied here.
    """
    verdicts = [("Approve", "approve"), ("Deny", "deny")]
    if len(_whole_text(request)) > MAX_CHARACTERS:
        verdicts = verdicts[1:]
    data = f"{code_of(request['run_id'], request['number'])}:{request['number']}:{short_hash(request)}"
    pair = [InlineKeyboardButton(text, callback_data=f"{data}:{verdict}") for text, verdict in verdicts]
    return InlineKeyboardMarkup([pair])


def short_hash(request: Request) -> str:
    """Return the beginning of the hash of what is shown; a button may hold 64 bytes."""
    return shown_hash(request)[:16]
