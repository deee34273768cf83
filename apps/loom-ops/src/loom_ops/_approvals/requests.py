"""Approval requests: choose the one that a person means, and describe it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from loom_agents.cli import Request, argument_difference, edit_notes, request_name, requests_in_tree, visible

from loom_ops._commands.allow_rules import argv_text
from loom_ops._errors import LoomOpsError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["approvals_left", "choose_request", "edit_lines", "step_text", "whole_step_text"]


def choose_request(requests: Iterable[Request], run_id: str, number: int | None, verb: str) -> Request:
    """Return the request with the given number, or the only pending one.

    Args:
        requests: All requests of the database.
        verb: What the person wants to do, for messages.

    Raises:
        LoomOpsError: There is no such request, or there are several.
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
    return found[0]


def step_text(request: Request) -> str:
    """Return the command of the step, or the name of its tool, in one short line."""
    argv = _final_argv(request)
    return argv_text(argv) if argv else visible(str(request["tool"]))


def whole_step_text(request: Request) -> str:
    """Return the command that an approval allows, not shortened, or the name of its tool."""
    argv = _final_argv(request)
    return visible(shlex.join(argv) if argv else str(request["tool"]))


def edit_lines(request: Request) -> list[str]:
    """Return who has edited a request, what is void, and the difference; empty without an edit."""
    edited = request.get("edited_arguments")
    if edited is None:
        return []
    return [*edit_notes(request), *argument_difference(request["arguments"], edited)]


def _final_argv(request: Request) -> list[str] | None:
    argv = (request.get("edited_arguments") or {}).get("argv") or request["policy"].get("argv")
    is_command = isinstance(argv, list) and all(isinstance(word, str) for word in argv)
    return argv if is_command else None


def approvals_left(request: Request) -> int:
    """Return how many people must still approve; an edit approves the edited arguments."""
    approvers: set[str] = set()
    for decision in request["decisions"]:
        if decision["how"] == "edit":
            approvers.clear()
        approvers.add(decision["by"])
    return max(0, int(request["needed"]) - len(approvers))
