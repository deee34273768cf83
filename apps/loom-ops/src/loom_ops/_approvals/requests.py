"""Approval requests: choose the one that a person means, and describe it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from flow_xray.terminal import visible_line
from loom_agents.cli import Request, argument_difference, edit_notes, request_name, requests_in_tree

from loom_ops._commands.allow_rules import argv_text
from loom_ops._errors import LoomOpsError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MIN_HASH", "choose_request", "decision_words", "edit_lines", "final_text", "step_text"]

MIN_HASH: Final = 8
"""How many characters of a hash name what a person was shown."""


def choose_request(
    requests: Iterable[Request], run_id: str, number: int | None, verb: str, *, digest: str = ""
) -> Request:
    """Return the request with the given number, or the only pending one.

    Args:
        requests: All requests of the database.
        verb: What the person wants to do, for messages.
        digest: The begin of the hash that the person was shown.

    Raises:
        LoomOpsError: There is no such request, there are several, or it was edited since.
    """
    found = requests_in_tree(requests, run_id)
    if number is None:
        found = [request for request in found if request["status"] == "pending"]
    else:
        numbered = [request for request in found if request["number"] == number]
        found = [request for request in numbered if request["run_id"] == run_id] or numbered
    if not found:
        what = "it waits for no approval" if number is None else f"it has no request {number}"
        raise LoomOpsError(f"cannot {verb} {run_id!r}: {what}. See loom-ops approvals.", run_id=run_id)
    if len(found) > 1:
        names = ", ".join(request_name(request) for request in found)
        raise LoomOpsError(
            f"cannot {verb} {run_id!r}: {len(found)} requests wait: {names}. Choose one with --number.", run_id=run_id
        )
    chosen = found[0]
    if digest and (len(digest) < MIN_HASH or not chosen["final_hash"].startswith(digest.lower())):
        raise LoomOpsError(
            f"cannot {verb} {request_name(chosen)}: it is not, or no longer, the command with the hash {digest[:64]}. "
            "See loom-ops approvals.",
            run_id=run_id,
        )
    return chosen


def decision_words(request: Request) -> tuple[str, ...]:
    """Return the options that name exactly this request, as it is now."""
    return ("--number", str(request["number"]), "--hash", request["final_hash"][: MIN_HASH + 4])


def step_text(request: Request) -> str:
    """Return the command of the step, or the name of its tool, in one short line."""
    argv = request["policy"].get("argv")
    return argv_text(argv) if argv else visible_line(str(request["tool"]))


def final_text(request: Request) -> str:
    """Return what an approval starts now, not shortened: the command as it was edited, or what is
    done by hand.
    """
    final = request["edited_arguments"] or request["arguments"]
    argv = final.get("argv")
    if isinstance(argv, list):
        return visible_line(shlex.join(str(word) for word in argv))
    return visible_line(str(final.get("text") or request["tool"]))


def edit_lines(request: Request) -> list[str]:
    """Return who has edited a request, what is void, and the difference; empty without an edit."""
    edited = request["edited_arguments"]
    if edited is None:
        return []
    return [*edit_notes(request), *argument_difference(request["arguments"], edited)]
